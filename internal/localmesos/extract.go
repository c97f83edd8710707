package localmesos

import (
	"archive/tar"
	"archive/zip"
	"compress/bzip2"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// extract unpacks name beside itself if it is an archive by its suffix. The
// root keeps every entry, and every link in it, within the sandbox.
func extract(ctx context.Context, root *os.Root, name string) error {
	f, err := root.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	dir := path.Dir(name)
	suffix := func(all ...string) bool {
		for _, s := range all {
			if strings.HasSuffix(strings.ToLower(name), s) {
				return true
			}
		}
		return false
	}
	switch {
	case suffix(".tar"):
		err = extractTar(ctx, root, dir, f)
	case suffix(".tgz", ".tar.gz"):
		var z *gzip.Reader
		if z, err = gzip.NewReader(f); err == nil {
			err = extractTar(ctx, root, dir, z)
		}
	case suffix(".tbz2", ".tar.bz2"):
		err = extractTar(ctx, root, dir, bzip2.NewReader(f))
	case suffix(".zip"):
		err = extractZip(ctx, root, dir, f)
	case suffix(".txz", ".tar.xz"):
		err = errors.New("xz archives are not supported by the embedded Mesos")
	}
	if err != nil {
		return fmt.Errorf("extracting: %w", err)
	}
	return nil
}

func extractTar(ctx context.Context, root *os.Root, dir string, r io.Reader) error {
	archive := tar.NewReader(r)
	for {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		name := path.Join(dir, h.Name)
		if err := makeParent(root, name); err != nil {
			return err
		}
		switch mode := fs.FileMode(h.Mode).Perm(); h.Typeflag {
		case tar.TypeDir:
			err = root.MkdirAll(name, mode|0o700)
		case tar.TypeReg:
			if err = writeFile(ctx, root, name, archive, mode); err == nil {
				err = root.Chmod(name, mode)
			}
		case tar.TypeSymlink:
			err = root.Symlink(h.Linkname, name)
		case tar.TypeLink:
			err = root.Link(path.Join(dir, h.Linkname), name)
		}
		if err != nil {
			return err
		}
	}
}

func extractZip(ctx context.Context, root *os.Root, dir string, f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	archive, err := zip.NewReader(f, info.Size())
	if err != nil {
		return err
	}
	for _, entry := range archive.File {
		if err := extractZipEntry(ctx, root, path.Join(dir, entry.Name), entry); err != nil {
			return err
		}
	}
	return nil
}

func extractZipEntry(ctx context.Context, root *os.Root, name string, entry *zip.File) error {
	if err := makeParent(root, name); err != nil {
		return err
	}
	if entry.FileInfo().IsDir() {
		return root.MkdirAll(name, 0o755)
	}
	r, err := entry.Open()
	if err != nil {
		return err
	}
	defer r.Close()
	mode := entry.Mode()
	if mode&fs.ModeSymlink != 0 {
		target, err := io.ReadAll(io.LimitReader(r, 4096))
		if err != nil {
			return err
		}
		return root.Symlink(string(target), name)
	}
	if err := writeFile(ctx, root, name, r, mode.Perm()); err != nil {
		return err
	}
	return root.Chmod(name, mode.Perm()|0o400)
}

func makeParent(root *os.Root, name string) error {
	if !filepath.IsLocal(name) {
		return fmt.Errorf("entry %q leads out of the sandbox", name)
	}
	return root.MkdirAll(path.Dir(name), 0o755)
}
