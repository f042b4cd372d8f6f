package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/skiff-k8s/skiff/cluster"
	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/machine"
)

func (a *app) image() *cobra.Command {
	return group(&cobra.Command{
		Use: "image", Short: "Load container images into the cluster, and list them",
		Long: `Load container images from archives into the cluster, and list those that it has. Pods use them without a registry. With
imagePullPolicy Always the registry in the image's name is asked first; if it has no such image, the loaded one is used.`,
		Example: `  docker save my-app:dev | skiff image load -
  skiff image load my-app.tar
  skiff image list`,
	}, a.imageLoad(), a.imageList())
}

func (a *app) imageLoad() *cobra.Command {
	return &cobra.Command{
		Use: "load FILE|-", Short: "Load the images of an archive", Args: countArgs(1, 1),
		Long: `Load the images of an archive, from a file or from the standard input (-): what "docker save" or "podman save"
writes, or a tar of an OCI layout, compressed with gzip or zstd or not. It is streamed to the node and never stored as a
whole. An image whose name the cluster already has replaces the old one. Names and digests are printed.`,
		Example: `  docker save my-app:dev | skiff image load -
  skiff image load my-app.tar.gz`,
		Annotations:       map[string]string{annotationFormats: "json yaml"},
		ValidArgsFunction: completeFiles,
		RunE: func(cmd *cobra.Command, args []string) error {
			from, archive, size := "the standard input", a.streams.In, int64(0)
			if args[0] != "-" {
				from = args[0]
				file, bytes, err := openArchive(from)
				if err != nil {
					return a.noArchive(from, err)
				}
				defer func() { _ = file.Close() }()
				archive, size = file, bytes
			}
			loaded, err := a.manager().LoadImages(cmd.Context(), a.profile(), from, archive, size, a.sink(cmd.Context()))
			if err != nil {
				return err
			}
			return a.out.Data(loaded, func(w io.Writer) error { return writeImages(w, loaded) })
		},
	}
}

// noArchive says that there is no archive of that name. Who names an image, as with other tools, is told how to make one of it.
func (a *app) noArchive(name string, err error) error {
	if !errors.Is(err, fs.ErrNotExist) {
		return fail.New(fail.FlagInvalid, "load images from "+name, "%w", err)
	}
	failure := fail.New(fail.FlagInvalid, "load images from "+name, "there is no file of that name").
		WithHint("Images are loaded from archives, as `docker save` and `podman save` write them.")
	if strings.HasPrefix(name, ".") || strings.HasPrefix(name, "/") || slices.Contains([]string{".tar", ".gz", ".tgz", ".zst"}, filepath.Ext(name)) {
		return failure
	}
	own := ""
	if a.settings.from("profile") == fromFlag {
		own = "-p " + a.profile() + " "
	}
	return failure.WithNext("docker save %s | skiff image load %s-", machine.Quote(name), own)
}

// openArchive opens a file or a named pipe, which has no size.
func openArchive(path string) (file *os.File, size int64, err error) {
	if file, err = os.Open(path); err != nil {
		return nil, 0, err
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() && info.Mode()&os.ModeNamedPipe == 0 {
		err = errors.New("it is no file")
	}
	if err != nil {
		return nil, 0, errors.Join(err, file.Close())
	}
	return file, info.Size(), nil
}

func (a *app) imageList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List the cluster's images, one per line", Args: noArgs,
		Example:     `  skiff image list -o json`,
		Annotations: map[string]string{annotationFormats: "json yaml"},
		RunE: func(cmd *cobra.Command, _ []string) error {
			list, err := a.manager().Images(cmd.Context(), a.profile())
			if err != nil {
				return err
			}
			return a.out.Data(list, func(w io.Writer) error {
				for _, one := range list {
					if _, err := fmt.Fprintln(w, one.Name); err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
}

func writeImages(w io.Writer, list []cluster.Image) error {
	for _, one := range list {
		if _, err := fmt.Fprintf(w, "%s\t%s\n", one.Name, one.Digest); err != nil {
			return err
		}
	}
	return nil
}
