# The two images, from binaries that `cargo build --release -p pitwall-operator -p pitwall-sidecar` has built:
#   docker build --target operator --tag REGISTRY/pitwall-operator:0.1.0 --file Dockerfile target/x86_64-unknown-linux-gnu/release
# They are static; nothing else is needed at run time.
FROM scratch AS operator
COPY pitwall-operator /pitwall-operator
USER 65532:65532
ENTRYPOINT ["/pitwall-operator"]

FROM scratch AS sidecar
COPY pitwall-sidecar /pitwall-sidecar
USER 65532:65532
ENTRYPOINT ["/pitwall-sidecar"]
