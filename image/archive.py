"""An image of one layer, as an OCI archive (image-spec 1.0) and as a docker archive.

Nothing here depends on the clock, the user or the order of a directory.
"""
import gzip
import hashlib
import io
import json
import os
import platform
import tarfile
import time

OCI = "application/vnd.oci.image."
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}


def _digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def _json(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _add(tar, name, date, content=None, mode=0o644):
    """A file, or without content a directory; root's."""
    entry = tarfile.TarInfo(name)
    entry.mtime, entry.mode = date, mode
    if content is None:
        entry.type = tarfile.DIRTYPE
        tar.addfile(entry)
    else:
        entry.size = len(content)
        tar.addfile(entry, io.BytesIO(content))


def _tar(entries, date):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content, mode in entries:
            _add(tar, name, date, content, mode)
    return out.getvalue()


def layer(root, date):
    """The tree below `root` as a tar, sorted by name."""
    entries = []
    for directory, below, files in os.walk(root):
        for name in below + files:
            path = os.path.join(directory, name)
            content = None
            if name in files:
                with open(path, "rb") as file:
                    content = file.read()
            entries.append((os.path.relpath(path, root), content, os.stat(path).st_mode & 0o777))
    return _tar(sorted(entries), date)


class Image:
    def __init__(self, tar, version, date, entrypoint, labels):
        self._tar, self._version, self._date = tar, version, date
        self._layer = gzip.compress(tar, 9, mtime=0)
        self.compressed = len(self._layer)
        self._architecture = ARCHITECTURES.get(platform.machine(), platform.machine())
        self._config = _json({
            "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(date)),
            "architecture": self._architecture,
            "os": "linux",
            "config": {
                "Entrypoint": entrypoint,
                "Env": ["PATH=/usr/bin"],
                "Labels": labels,
                "StopSignal": "SIGTERM",
                "WorkingDir": "/",
            },
            "rootfs": {"type": "layers", "diff_ids": [_digest(tar)]},
            "history": [{"created_by": "make image"}],
        })
        self._manifest = _json({
            "schemaVersion": 2,
            "mediaType": OCI + "manifest.v1+json",
            "config": self._described("config.v1+json", self._config),
            "layers": [self._described("layer.v1.tar+gzip", self._layer)],
            "annotations": labels,
        })
        self.digest = _digest(self._manifest)

    @staticmethod
    def _described(kind, data):
        return {"mediaType": OCI + kind, "digest": _digest(data), "size": len(data)}

    def write_oci(self, path):
        manifest = self._described("manifest.v1+json", self._manifest) | {
            "platform": {"architecture": self._architecture, "os": "linux"},
            "annotations": {
                "org.opencontainers.image.ref.name": self._version,
                # containerd takes the whole name from here
                "io.containerd.image.name": f"docker.io/library/egret:{self._version}",
            },
        }
        index = {"schemaVersion": 2, "mediaType": OCI + "index.v1+json", "manifests": [manifest]}
        blobs = {"blobs/" + _digest(data).replace(":", "/"): data
                 for data in (self._config, self._manifest, self._layer)}
        self._write(path, blobs | {
            "index.json": _json(index),
            "oci-layout": _json({"imageLayoutVersion": "1.0.0"}),
        })

    def write_docker(self, path):
        config = _digest(self._config).removeprefix("sha256:") + ".json"
        tar = _digest(self._tar).removeprefix("sha256:") + "/layer.tar"
        manifest = [{"Config": config, "RepoTags": [f"egret:{self._version}"], "Layers": [tar]}]
        self._write(path, {config: self._config, tar: self._tar, "manifest.json": _json(manifest)})

    def _write(self, path, files):
        directories = {os.path.dirname(name) for name in files}
        directories |= {os.path.dirname(name) for name in directories}
        entries = [(name, None, 0o755) for name in directories - {""}]
        entries += [(name, content, 0o644) for name, content in files.items()]
        with open(path, "wb") as file:
            file.write(_tar(sorted(entries), self._date))
