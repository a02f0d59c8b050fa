package cataloger

import (
	"errors"
	"fmt"
	"path"

	"github.com/pratique/pratique/engine/cataloger/rpmdb"
	"github.com/pratique/pratique/engine/inventory"
)

// isRPMDatabase: the database in any of its forms, wherever rpm's folder is.
func isRPMDatabase(p string) bool {
	switch path.Base(p) {
	case "Packages", "Packages.db", "rpmdb.sqlite":
		return isAt(path.Dir(p), "rpm")
	}
	return false
}

// errFull ends the reading of a database: there is room for no more packages,
// and a gap says so.
var errFull = errors.New("no room for more packages")

// readRPMDatabase lists the installed packages and the files they own.
func readRPMDatabase(f File, out *Result) {
	out.database(inventory.TypeRPM)
	if f.Size == 0 {
		return // of an image in which nothing was installed by rpm
	}
	var log *rpmdb.File
	if f.Beside != nil {
		log = &rpmdb.File{ReaderAt: f.Beside.ReaderAt, Size: f.Beside.Size}
	}
	_, err := rpmdb.Read(rpmdb.File{ReaderAt: f.ReaderAt, Size: f.Size}, log, rpmdb.DefaultLimits, func(p *rpmdb.Package) error {
		return addRPM(p, out)
	})
	var partial *rpmdb.PartialError
	switch {
	case err == nil || errors.Is(err, errFull):
	case errors.As(err, &partial) && len(out.Packages) > 0:
		out.gap(inventory.Blind, "rpm-records", fmt.Sprintf("packages of the rpm database could not be read: %v", partial))
	default:
		out.gap(inventory.Blind, "rpm-database", fmt.Sprintf("the rpm database could not be read: %v", err))
	}
}

// addRPM adds what `rpm -qa` lists, the keys that rpm trusts ("gpg-pubkey") too.
func addRPM(p *rpmdb.Package, out *Result) error {
	if p.Name == "" || p.Version == "" {
		out.gap(inventory.Blind, "rpm-records", "a package of the rpm database has no name or no version")
		return nil
	}
	epoch := p.Epoch
	if epoch == "" {
		epoch = "0"
	}
	pkg := inventory.Package{
		Type: inventory.TypeRPM, Name: p.Name, Version: rpmdb.EVR(epoch, p.Version, p.Release), Arch: p.Arch,
		License: p.License, Module: moduleStream(p.ModularityLabel), Vendor: p.Vendor,
	}
	if name, version, release := rpmdb.SourceName(p.SourceRPM); name != "" {
		pkg.Source, pkg.SourceVersion = name, rpmdb.EVR(epoch, version, release)
	}
	if !out.add(pkg) {
		return errFull
	}
	err := p.Files(func(file string, _ uint32, _ uint16, _ string) bool {
		out.addOwned(p.Name, file)
		return true
	})
	if err != nil {
		out.gap(inventory.Partial, "rpm-files", fmt.Sprintf("the files of some packages of the rpm database could not be read: %v", err))
	}
	return nil
}

// moduleStream is "nodejs:18" of the label "nodejs:18:8080020230825:63b34585".
func moduleStream(label string) string {
	colons := 0
	for i := range label {
		if label[i] == ':' {
			if colons++; colons == 2 {
				return label[:i]
			}
		}
	}
	return label
}
