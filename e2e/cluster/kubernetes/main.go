// Command kubernetes is one binary that holds a whole cluster: etcd, the five programs of
// Kubernetes, kubectl, CoreDNS, and the two small programs that the cluster needs beside them. It is
// the program whose name it is called by, so each of them is a symbolic link to it. One binary,
// because they share nearly all of their code: one compilation, one link step and 140 MB.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	kubectl "k8s.io/kubectl/pkg/cmd"

	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"

	"pitwall.dev/e2e/cluster/kubernetes/dns"
	"pitwall.dev/e2e/cluster/kubernetes/loopback"
	"pitwall.dev/e2e/cluster/kubernetes/volumes"
)

func main() {
	commands := map[string]func() *cobra.Command{
		"kube-apiserver":          apiserver.NewAPIServerCommand,
		"kube-controller-manager": controllermanager.NewControllerManagerCommand,
		"kube-scheduler":          func() *cobra.Command { return scheduler.NewSchedulerCommand() },
		"kube-proxy":              proxy.NewProxyCommand,
		"kubelet":                 func() *cobra.Command { return kubelet.NewKubeletCommand(context.Background()) },
		"kubectl":                 kubectl.NewDefaultKubectlCommand,
	}
	plain := map[string]func() error{
		"coredns":  dns.Main,
		"loopback": loopback.Main,
		"volumes":  volumes.Main,
	}
	name := filepath.Base(os.Args[0])
	if name == "etcd" {
		etcdmain.Main(os.Args)
		return
	}
	if run, ok := plain[name]; ok {
		if err := run(); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
			os.Exit(1)
		}
		return
	}
	command, ok := commands[name]
	if !ok {
		fmt.Fprintf(os.Stderr, "%q is none of the programs in this binary: call it through a link named coredns, etcd, kubectl, kubelet, kube-*, loopback or volumes\n", name)
		os.Exit(2)
	}
	os.Exit(cli.Run(command()))
}
