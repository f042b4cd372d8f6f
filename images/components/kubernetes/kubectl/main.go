// Command kubectl is the client that skiff runs on the host: kubectl of the cluster's version with the subcommand
// "convert" (the plugin kubectl-convert) built in, so that manifests of removed API versions can be raised without a
// cluster and without a download.
package main

import (
	"os"

	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/component-base/cli"
	"k8s.io/kubectl/pkg/cmd"
	cmdutil "k8s.io/kubectl/pkg/cmd/util"
	"k8s.io/kubernetes/pkg/kubectl/cmd/convert"
)

func main() {
	streams := genericiooptions.IOStreams{In: os.Stdin, Out: os.Stdout, ErrOut: os.Stderr}
	if len(os.Args) > 1 && os.Args[1] == "convert" {
		flags := genericclioptions.NewConfigFlags(true).WithDeprecatedPasswordFlag()
		factory := cmdutil.NewFactory(cmdutil.NewMatchVersionFlags(flags))
		command := convert.NewCmdConvert(factory, streams)
		flags.AddFlags(command.Flags())
		command.SetArgs(os.Args[2:])
		os.Exit(cli.Run(command))
	}
	os.Exit(cli.Run(cmd.NewDefaultKubectlCommand()))
}
