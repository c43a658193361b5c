package flinkdist

import (
	"context"
	"errors"
)

// FindOrInstallJDK is FindJDK, and installs one where there is none and CanInstall
// says that it can. Call it only with the user's permission: it may change the machine.
func FindOrInstallJDK(ctx context.Context, need Need, progress func(line string)) (JDK, error) {
	jdk, err := FindJDK(ctx, need, nil)
	if !errors.Is(err, ErrNoJDK) || !CanInstall() {
		return jdk, err
	}
	if err := InstallJDK(ctx, progress); err != nil {
		return JDK{}, err
	}
	return FindJDK(ctx, need, nil)
}

// FetchOrInstall is Fetch, and installs a package client where there is none and
// CanInstall says that it can. Call it only with the user's permission: it may
// change the machine.
func FetchOrInstall(ctx context.Context, opts Options) (Dist, error) {
	d, err := Fetch(ctx, opts)
	if !errors.Is(err, ErrNoClient) || !CanInstall() {
		return d, err
	}
	if err := InstallPip(ctx, opts.Progress); err != nil {
		return Dist{}, err
	}
	return Fetch(ctx, opts)
}

// PluginsOrInstall is Plugins, and installs Maven where there is none and
// CanInstall says that it can. Call it only with the user's permission: it may
// change the machine.
func PluginsOrInstall(ctx context.Context, opts Options) ([]Plugin, error) {
	plugins, err := Plugins(ctx, opts)
	if !errors.Is(err, ErrNoClient) || !CanInstall() {
		return plugins, err
	}
	if err := InstallMaven(ctx, opts.Progress); err != nil {
		return nil, err
	}
	return Plugins(ctx, opts)
}
