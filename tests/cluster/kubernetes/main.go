// Command kubernetes is one binary that holds every Go program of the test cluster: it runs the component
// named by its first argument. One binary links once what seven would each link again.
package main

import (
	"context"
	"fmt"
	"os"
	"sort"
	"strings"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	kubectl "k8s.io/kubectl/pkg/cmd"
	kubectlutil "k8s.io/kubectl/pkg/cmd/util"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
)

var components = map[string]func() *cobra.Command{
	"kube-apiserver":          apiserver.NewAPIServerCommand,
	"kube-controller-manager": controllermanager.NewControllerManagerCommand,
	"kube-proxy":              proxy.NewProxyCommand,
	"kube-scheduler":          func() *cobra.Command { return scheduler.NewSchedulerCommand() },
	"kubelet":                 func() *cobra.Command { return kubelet.NewKubeletCommand(context.Background()) },
}

func main() {
	name, args := dispatch(os.Args)
	os.Args = append([]string{name}, args...)
	switch build, ok := components[name]; {
	case name == "etcd":
		etcdmain.Main(os.Args)
	case name == "kubectl":
		if err := cli.RunNoErrOutput(kubectl.NewDefaultKubectlCommand()); err != nil {
			kubectlutil.CheckErr(err)
		}
	case ok:
		os.Exit(cli.Run(build()))
	default:
		fmt.Fprintf(os.Stderr, "unknown component %q: expected one of etcd, kubectl, %s\n", name, names())
		os.Exit(2)
	}
}

// dispatch takes the component from the name that the binary was called by (a symbolic link), or else from
// its first argument.
func dispatch(argv []string) (string, []string) {
	called := argv[0][strings.LastIndexByte(argv[0], '/')+1:]
	if _, ok := components[called]; ok || called == "etcd" || called == "kubectl" || len(argv) < 2 {
		return called, argv[1:]
	}
	return argv[1], argv[2:]
}

func names() string {
	list := make([]string, 0, len(components))
	for name := range components {
		list = append(list, name)
	}
	sort.Strings(list)
	return strings.Join(list, ", ")
}
