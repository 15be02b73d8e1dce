use super::*;
use jsonwebtoken::{EncodingKey, Header};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
use serde_json::{Value, json};

fn key() -> (EncodingKey, JwkSet) {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    // The public point is 0x04, x, y.
    let point = pair.public_key_raw();
    let coordinate = |range: std::ops::Range<usize>| URL_SAFE_NO_PAD.encode(&point[range]);
    let keys = json!({ "keys": [{
        "kty": "EC", "crv": "P-256", "kid": "k1", "use": "sig", "alg": "ES256",
        "x": coordinate(1..33), "y": coordinate(33..65),
    }]});
    (EncodingKey::from_ec_der(&pair.serialize_der()), serde_json::from_value(keys).unwrap())
}

fn claims() -> Value {
    json!({
        "aud": ["pitwall"], "exp": 2_000, "nbf": 1_000, "iss": "https://kubernetes.default.svc",
        "kubernetes.io": { "namespace": "shop", "pod": { "name": "checkout-1", "uid": "p1" } },
    })
}

fn token(key: &EncodingKey, kid: &str, claims: &Value) -> String {
    let header = Header { kid: Some(kid.into()), ..Header::new(Algorithm::ES256) };
    jsonwebtoken::encode(&header, claims, key).unwrap()
}

fn with(field: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[field] = value;
    claims
}

#[test]
fn a_token_proves_its_pod_and_nothing_else_does() {
    let (key, keys) = key();
    let (stranger, _) = self::key();
    let at = |second| Timestamp::from_second(second).unwrap();
    let pod = verify(&token(&key, "k1", &claims()), &keys, at(1_500)).unwrap();
    assert_eq!((pod.namespace.as_str(), pod.name.as_str(), pod.uid.as_str()), ("shop", "checkout-1", "p1"));

    let unbound = with("kubernetes.io", json!({ "namespace": "shop" }));
    for (token, now, told) in [
        (token(&key, "k1", &claims()), 2_031, "good from"),
        (token(&key, "k1", &claims()), 969, "good from"),
        (token(&key, "k2", &claims()), 1_500, "isn't among the cluster's"),
        (token(&stranger, "k1", &claims()), 1_500, "refused"),
        (token(&key, "k1", &with("aud", json!(["vault"]))), 1_500, "refused"),
        (token(&key, "k1", &unbound), 1_500, "bound to no pod"),
        (token(&key, "k1", &with("exp", json!("never"))), 1_500, "refused"),
        ("x".repeat(MAX_TOKEN + 1), 1_500, "bytes"),
        ("a.b.c".into(), 1_500, "refused"),
        (String::new(), 1_500, "refused"),
    ] {
        let error = verify(&token, &keys, at(now)).unwrap_err().to_string();
        assert!(error.contains(told), "{error} lacks {told}");
    }
}

#[test]
fn an_unsigned_token_is_refused() {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    let (_, keys) = key();
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    for algorithm in ["none", "HS256"] {
        let token = format!("{}.{}.", part(json!({ "alg": algorithm, "kid": "k1" })), part(claims()));
        assert!(verify(&token, &keys, Timestamp::from_second(1_500).unwrap()).is_err(), "{algorithm}");
    }
}
