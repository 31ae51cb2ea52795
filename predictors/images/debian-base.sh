#!/bin/sh
# Makes a base image from Debian's own packages, for places without a container registry: debian-base.sh [NAME]
# Needs root, debootstrap and podman.
set -eu
name=${1:-localhost/mlflow-kserve/base:3.11}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
chmod 755 "$folder"
debootstrap --variant=minbase --include=ca-certificates,libgomp1,python3,python3-venv bookworm "$folder"
cd "$folder"
rm -rf var/cache/apt/* var/lib/apt/lists/* var/log/* usr/share/doc/* usr/share/man/* usr/share/locale/*
tar -c . | podman import --quiet - "$name"
