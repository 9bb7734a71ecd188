"""The bill of materials beside the image, as SPDX 2.3: egret, and the packages of Debian that its
files were taken from."""
import contextlib
import json
import re
import subprocess
import time

COPYRIGHT = "/usr/share/doc/{}/copyright"
# Debian's short names of licences that SPDX spells otherwise.
SPDX_NAMES = {
    "Expat": "MIT", "BSD-2-clause": "BSD-2-Clause", "BSD-3-clause": "BSD-3-Clause",
    "GPL-2": "GPL-2.0-only", "GPL-2+": "GPL-2.0-or-later",
    "LGPL-2.1": "LGPL-2.1-only", "LGPL-2.1+": "LGPL-2.1-or-later",
}
# Packages whose copyright file says it in prose, of the files that are taken from them.
IN_PROSE = {"ca-certificates": "MPL-2.0", "libc-ares2": "MIT", "libc6": "LGPL-2.1-or-later"}
NOT_KNOWN = "NOASSERTION"


def _query(*argv):
    return subprocess.run(("dpkg-query", *argv), capture_output=True, text=True, check=False)


def owner(path):
    """The package that the file is from; dpkg may know it by /lib or by /usr/lib."""
    for name in (path, path.removeprefix("/usr"), "/usr" + path):
        found = _query("-S", name)
        if found.returncode == 0:
            return found.stdout.rpartition(": ")[0]
    raise SystemExit(f"image: no package owns {path}")


def licence(text):
    """What a machine-readable copyright file says of the upstream files, as SPDX says it."""
    if not text.startswith("Format:"):
        return NOT_KNOWN
    for paragraph in re.split(r"\n\s*\n", text):
        fields = dict(re.findall(r"^([A-Za-z-]+):((?:.*)(?:\n[ \t].*)*)", paragraph, re.MULTILINE))
        if "*" in fields.get("Files", "").split():
            words = fields.get("License", "").splitlines()[0].split()
            names = [SPDX_NAMES.get(word) for word in words[::2]]
            if None in names or set(words[1::2]) - {"or", "and"}:
                return NOT_KNOWN
            return " ".join(names[:1] + [word for pair in zip(words[1::2], names[1:])
                                         for word in (pair[0].upper(), pair[1])])
    return NOT_KNOWN


def _package(name):
    """A package of Debian as SPDX describes it."""
    asked = "${Package}\n${Version}\n${Architecture}\n${source:Package}\n${source:Version}\n"
    binary, version, architecture, source, source_version = _query(
        "-W", "-f", asked, name).stdout.split()
    declared = NOT_KNOWN
    with contextlib.suppress(OSError), open(COPYRIGHT.format(binary), encoding="utf-8") as file:
        declared = licence(file.read())
    if declared == NOT_KNOWN:
        declared = IN_PROSE.get(binary, NOT_KNOWN)
    return {
        "name": binary,
        "SPDXID": "SPDXRef-Package-" + re.sub(r"[^A-Za-z0-9.-]", "-", binary),
        "versionInfo": version,
        "supplier": "Organization: Debian",
        "sourceInfo": f"built from the source package {source} {source_version}",
        "downloadLocation": NOT_KNOWN,
        "filesAnalyzed": False,
        "licenseConcluded": NOT_KNOWN,
        "licenseDeclared": declared,
        "copyrightText": NOT_KNOWN,
        "externalRefs": [{
            "referenceCategory": "PACKAGE-MANAGER",
            "referenceType": "purl",
            "referenceLocator": f"pkg:deb/debian/{binary}@{version.replace('+', '%2B')}"
                                f"?arch={architecture}",
        }],
    }


def packages_of(files):
    """The packages, as SPDX describes them, that these files of the build machine are from."""
    return [_package(name) for name in sorted({owner(file) for file in files})]


def licences(own, packages):
    """The licences of all that is in the image, as one SPDX expression."""
    others = {package["licenseDeclared"] for package in packages} - {own, NOT_KNOWN}
    return " AND ".join([own, *(f"({each})" if " " in each else each for each in sorted(others))])


def write(path, digest, version, own_licence, date, packages):
    egret = {
        "name": "egret",
        "SPDXID": "SPDXRef-egret",
        "versionInfo": version,
        "primaryPackagePurpose": "CONTAINER",
        "downloadLocation": NOT_KNOWN,
        "filesAnalyzed": False,
        "licenseConcluded": NOT_KNOWN,
        "licenseDeclared": own_licence,
        "copyrightText": NOT_KNOWN,
        "externalRefs": [{
            "referenceCategory": "PACKAGE-MANAGER",
            "referenceType": "purl",
            "referenceLocator": f"pkg:oci/egret@{digest.replace(':', '%3A')}",
        }],
    }
    document = {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": f"egret-{version}",
        "documentNamespace":
            f"https://spdx.org/spdxdocs/egret-{version}-{digest.rpartition(':')[2]}",
        "creationInfo": {
            "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(date)),
            "creators": ["Tool: egret-image"],
        },
        "packages": [egret, *packages],
        "relationships": [
            {"spdxElementId": "SPDXRef-DOCUMENT", "relationshipType": "DESCRIBES",
             "relatedSpdxElement": "SPDXRef-egret"},
            *({"spdxElementId": "SPDXRef-egret", "relationshipType": "CONTAINS",
               "relatedSpdxElement": package["SPDXID"]} for package in packages)],
    }
    with open(path, "w", encoding="utf-8") as file:
        json.dump(document, file, indent=1, sort_keys=True)
        file.write("\n")
