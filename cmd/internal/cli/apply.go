package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/manifest"
)

// sources says which manifests are meant.
type sources struct {
	files     []string
	kustomize string
	recursive bool
}

func (s *sources) flags(flags *pflag.FlagSet) {
	flags.StringArrayVarP(&s.files, "filename", "f", nil, "file or folder with manifests; - is standard input; repeatable")
	flags.StringVarP(&s.kustomize, "kustomize", "k", "", "folder with a kustomization")
	flags.BoolVarP(&s.recursive, "recursive", "R", false, "include all folders below the given ones")
}

// raised reads the manifests and raises those of removed API versions, with tool. What changed goes to stderr.
func (a *app) raised(ctx context.Context, s sources, tool string, convert bool) ([]byte, error) {
	kubectl := manifest.Kubectl{Path: tool}
	found, err := manifest.Sources(ctx, manifest.Input{
		Files: s.files, Recursive: s.recursive, Kustomize: s.kustomize, Stdin: a.streams.In, Builder: kubectl,
	})
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(found, func(source manifest.Source) bool { return !manifest.Blank(source.Data) }) {
		var names []string
		for _, source := range found {
			names = append(names, source.Name)
		}
		return nil, fail.New(fail.ManifestInvalid, "read manifest "+strings.Join(names, ", "), "there are no objects in it").
			WithHint("Is it the right file? One that is piped in may have come to nothing.")
	}
	var manifests [][]byte
	for _, source := range found {
		content := source.Data
		if convert {
			var changes []manifest.Change
			if content, changes, err = manifest.Raise(ctx, kubectl, source.Name, source.Data); err != nil {
				return nil, err
			}
			for _, change := range changes {
				a.out.Info(a.profile(), "%s", change)
			}
		}
		manifests = append(manifests, content)
	}
	if len(manifests) == 1 {
		return manifests[0], nil
	}
	return manifest.Join(manifests...), nil
}

func (a *app) apply() *cobra.Command {
	var s sources
	var namespace, dryRun string
	var convert bool
	cmd := &cobra.Command{
		Use: "apply -f FILE [-- KUBECTL-FLAG...]", Short: "Apply manifests, including those of removed API versions",
		Long: `Apply manifests as "kubectl apply" does. Objects of API versions that Kubernetes no longer serves, such as
extensions/v1beta1, are raised to one that it serves; every change is printed on stderr. The files are not changed.`,
		Example: `  skiff apply -f web.yaml
  skiff apply -f manifests/ -R -n shop
  cat web.yaml | skiff apply -f -`,
		Args: func(cmd *cobra.Command, args []string) error {
			if at := cmd.ArgsLenAtDash(); at > 0 || at < 0 && len(args) > 0 {
				return noArgs(cmd, args)
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if modes := []string{"none", "client", "server"}; !slices.Contains(modes, dryRun) {
				return fail.New(fail.FlagInvalid, "read --dry-run "+dryRun, "it is none of %v", modes)
			}
			tool, kubeconfig, err := a.manager().Kubectl(cmd.Context(), a.profile())
			if err != nil {
				return err
			}
			content, err := a.raised(cmd.Context(), s, tool, convert)
			if err != nil {
				return err
			}
			call := []string{"apply", "-f", "-", "--dry-run=" + dryRun}
			if namespace != "" {
				call = append(call, "-n", namespace)
			}
			if a.flags.output != "" && a.flags.output != "text" {
				call = append(call, "-o", a.flags.output)
			}
			return a.tool(cmd.Context(), tool, kubeconfig, bytes.NewReader(content), append(call, args...)...)
		},
		Annotations: map[string]string{annotationFormats: "json yaml"},
	}
	s.flags(cmd.Flags())
	cmd.Flags().StringVarP(&namespace, "namespace", "n", "", "namespace of objects that name none")
	cmd.Flags().StringVar(&dryRun, "dry-run", "none", "none, client or server")
	cmd.Flags().Lookup("dry-run").NoOptDefVal = "client"
	cmd.Flags().BoolVar(&convert, "convert", true, "raise removed API versions")
	return cmd
}

func (a *app) convert() *cobra.Command {
	var s sources
	cmd := &cobra.Command{
		Use: "convert -f FILE", Short: "Print manifests raised to API versions that Kubernetes serves",
		Long: `Print manifests with every object of a removed API version raised, to replace the old file. Every change is
printed on stderr. No cluster is needed.`,
		Example: `  skiff convert -f web.yaml > new.yaml`,
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			tool, err := a.manager().Converter(a.profile())
			if err != nil {
				return err
			}
			content, err := a.raised(cmd.Context(), s, tool, true)
			if err != nil {
				return err
			}
			return a.out.Data(string(content), func(w io.Writer) error {
				_, err := fmt.Fprintf(w, "%s", content)
				return err
			})
		},
	}
	s.flags(cmd.Flags())
	return cmd
}
