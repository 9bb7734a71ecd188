#!/usr/bin/python3
"""Builds the image: a staged root, an OCI archive, a docker archive and an SBOM.

What goes in is read from the programs and from dpkg; the same sources, packages and date give
the same bytes, whoever builds, wherever and whenever.
"""
import argparse
import glob
import os
import re
import shutil
import subprocess
import sys

import archive
import sbom

LICENCE = "Apache-2.0"
PROGRAMS = "usr/bin"
CERTIFICATES = "etc/ssl/certs/ca-certificates.crt"
EMPTY = ("dev", "proc", "run/egret", "sys")  # where container engines mount


def said(*argv):
    """What a command of the build machine says, whatever its user's environment."""
    environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}
    return subprocess.run(argv, check=True, capture_output=True, text=True,
                          env=environment).stdout


def libraries(program):
    """What the loader maps for the program, itself included, by the path that it looks at."""
    return re.findall(r"(/\S+) \(0x", said("ldd", program))


class Root:
    """The image's files in a directory, with modes that no umask changes."""

    def __init__(self, path):
        self.path = path
        shutil.rmtree(path, ignore_errors=True)
        os.makedirs(path)

    def directory(self, name):
        at = self.path
        for part in name.split("/"):
            at = os.path.join(at, part)
            os.makedirs(at, exist_ok=True)
            os.chmod(at, 0o755)

    def put(self, name, content, mode=0o644):
        self.directory(os.path.dirname(name))
        path = os.path.join(self.path, name)
        with open(path, "wb") as file:
            file.write(content)
        os.chmod(path, mode)

    def copy(self, name, source, mode=0o644):
        with open(source, "rb") as file:
            self.put(name, file.read(), mode)

    def program(self, name, source):
        """Without symbols, and without the build's number, which depends on where it was built."""
        self.copy(name, source, 0o755)
        said("strip", "--strip-all", "--remove-section=.note.gnu.build-id",
             "--remove-section=.comment", os.path.join(self.path, name))


def certificates():
    """Those of the package alone: what a build machine trusts besides is its own affair."""
    parts = []
    for path in sorted(glob.glob("/usr/share/ca-certificates/mozilla/*.crt")):
        with open(path, "rb") as file:
            parts.append(file.read().rstrip(b"\n") + b"\n")
    if not parts:
        sys.exit("image: no CA certificates: install ca-certificates")
    return b"".join(parts)


def stage(root, programs, etc):
    """Fills the root; the files of the build machine that went in as they are."""
    taken = {"/usr/share/ca-certificates/mozilla"}
    for program in programs:
        root.program(f"{PROGRAMS}/{os.path.basename(program)}", program)
        for library in libraries(program):
            root.copy(library.lstrip("/"), library, 0o755)
            taken.add(library)
    for name in sorted(os.listdir(etc)):
        root.copy(f"etc/egret/{name}", os.path.join(etc, name))
    root.put(CERTIFICATES, certificates())
    for name in EMPTY:
        root.directory(name)
    return taken


def labels(options, licences):
    return {
        "org.opencontainers.image.title": "egret",
        "org.opencontainers.image.description":
            "Egress gateway and forward proxy for the pods of a Kubernetes cluster",
        "org.opencontainers.image.version": options.version,
        "org.opencontainers.image.revision": options.revision,
        "org.opencontainers.image.licenses": licences,
    }


def parse(argv):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--version", required=True)
    parser.add_argument("--revision", required=True, help="the commit that is built")
    parser.add_argument("--date", required=True, type=int,
                        help="seconds since 1970 that every file and document says")
    parser.add_argument("--etc", required=True, help="directory with egret.ini and acl.ini")
    parser.add_argument("--out", required=True, help="directory for what is made")
    parser.add_argument("programs", nargs="+")
    return parser.parse_args(argv)


def main(argv=None):
    options = parse(argv)
    root = Root(os.path.join(options.out, "root"))
    packages = sbom.packages_of(stage(root, options.programs, options.etc))
    licences = sbom.licences(LICENCE, packages)
    image = archive.Image(archive.layer(root.path, options.date), options.version, options.date,
                          [f"/{PROGRAMS}/egretd"],
                          labels(options, licences))
    image.write_oci(os.path.join(options.out, "egret-oci.tar"))
    image.write_docker(os.path.join(options.out, "egret-docker.tar"))
    for name, text in ("digest", image.digest), ("licences", licences):
        with open(os.path.join(options.out, name), "w", encoding="ascii") as file:
            file.write(text + "\n")
    sbom.write(os.path.join(options.out, "egret.spdx.json"), image.digest, options.version,
               LICENCE, options.date, packages)
    print(f"{options.out}/egret-oci.tar: {image.digest}, "
          f"{image.compressed / 1e6:.2f} MB compressed")


if __name__ == "__main__":
    main()
