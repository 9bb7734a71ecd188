#!/usr/bin/python3
"""Makes schemas.json: JSON schemas for the kinds that the manifests use.

Those of the Kubernetes API come from the public OpenAPI definitions, as the npm package
@kubernetes/client-node carries them in its generated models: names and types of fields in
MODEL.js, which are required in MODEL.d.ts.  Those of other APIs come from their
CustomResourceDefinitions, which npm packages carry as TypeScript declarations.  Unknown fields are
refused.  Another version: change the package, its integrity and VERSION, and run this.
"""
import base64
import contextlib
import hashlib
import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile

PACKAGE = "@kubernetes/client-node@1.4.0"
INTEGRITY = ("sha512-Zge3YvF7DJi264dU1b3wb/GmzR99JhUpqTvp+VGHfwZT+g7EOOYNScDJNZwXy9cszyIGPIs0VHr"
             "+kk8e95qqrA==")
VERSION = "v1.34.0"
KINDS = {
    "v1/Namespace": "V1Namespace",
    "v1/ServiceAccount": "V1ServiceAccount",
    "v1/ConfigMap": "V1ConfigMap",
    "v1/Service": "V1Service",
    "apps/v1/Deployment": "V1Deployment",
    "apps/v1/DaemonSet": "V1DaemonSet",
    "discovery.k8s.io/v1/EndpointSlice": "V1EndpointSlice",
    "networking.k8s.io/v1/NetworkPolicy": "V1NetworkPolicy",
    "scheduling.k8s.io/v1/PriorityClass": "V1PriorityClass",
}
# {kind: (package, its integrity, the file with the declaration)}
CUSTOM = {
    "monitoring.coreos.com/v1/PodMonitor": (
        "@kubernetes-models/prometheus-operator@4.4.4",  # Prometheus Operator 0.65
        ("sha512-uIOs1bRRc3yMbJioXGktUD8IG/ZbwRcL39hw2cKYi97D2Z1uZCaofNXOUCdBYPHpQl6i/mBe+"
         "JXk1gnIEw6+rA=="),
        "package/monitoring.coreos.com/v1/PodMonitor.d.ts"),
    "argoproj.io/v1alpha1/Application": (
        "@kubernetes-models/argo-cd@2.7.2",  # Argo CD 2.14
        ("sha512-Dge+7Uq54dt5c3pzusOw8i26FHWqJiyiFqHKQKHUNjOq2zb3e7LY2OYBrNP7hDSoM0Ap5K9cJ"
         "TMgNzsaaKdjOQ=="),
        "package/argoproj.io/v1alpha1/Application.d.ts"),
}
SET_BY_OTHERS = {"status", "operation"}  # not by who writes the object
SIMPLE = {
    "string": {"type": "string"},
    "boolean": {"type": "boolean"},
    "any": {},
    "Date": {"type": "string", "format": "date-time"},
    "V1MicroTime": {"type": "string", "format": "date-time"},
    "IntOrString": {"type": ["integer", "string"]},
}


@contextlib.contextmanager
def downloaded(package, integrity):
    """The package as an open tar archive."""
    with tempfile.TemporaryDirectory() as directory:
        subprocess.run(["npm", "pack", "--silent", package], cwd=directory, check=True,
                       stdout=subprocess.DEVNULL)
        path, = (os.path.join(directory, name) for name in os.listdir(directory))
        with open(path, "rb") as file:
            digest = "sha512-" + base64.b64encode(hashlib.sha512(file.read()).digest()).decode()
        if digest != integrity:
            sys.exit(f"{package}: {digest}: want {integrity}")
        with tarfile.open(path) as archive:
            yield archive


class Models:
    """The package's models, by name."""

    def __init__(self, archive):
        self._archive = archive

    def _read(self, name):
        member = f"package/dist/gen/models/{name}"
        return self._archive.extractfile(member).read().decode()

    def fields(self, model):
        """[{baseName, type, format}]"""
        text = self._read(model + ".js")
        if f"OpenAPI spec version: {VERSION}" not in text:
            sys.exit(f"{model}: want OpenAPI spec version {VERSION}")
        return json.loads(re.search(r"attributeTypeMap = (\[.*?\n\])", text, re.S).group(1))

    def required(self, model):
        return set(re.findall(r"^    '(\w+)': ", self._read(model + ".d.ts"), re.M))


def schema(kind, form):
    """The schema of a field's type, and the model that it names or None."""
    inner = re.fullmatch(r"(?:Array|Set)<(.*)>", kind)
    if inner:
        items, model = schema(inner.group(1), form)
        return {"type": "array", "items": items}, model
    inner = re.fullmatch(r"\{ \[key: string\]: (.*); \}", kind)
    if inner:
        values, model = schema(inner.group(1), form)
        return {"type": "object", "additionalProperties": values}, model
    if kind == "number":
        return {"type": "integer" if form in ("int32", "int64") else "number"}, None
    if kind in SIMPLE:
        return SIMPLE[kind], None
    return {"$ref": f"#/definitions/{kind}"}, kind


def definition(models, model):
    properties, needed = {}, set()
    for field in models.fields(model):
        properties[field["baseName"]], other = schema(field["type"], field["format"])
        needed.add(other)
    out = {"type": "object", "additionalProperties": False, "properties": properties}
    required = sorted(models.required(model) & set(properties))
    if required:
        out["required"] = required
    return out, needed - {None}


class Declaration:
    """A TypeScript type as a JSON schema."""

    def __init__(self, text):
        self._tokens = re.findall(r'"[^"]*"|[\w-]+|[{}<>|?:;\[\]]',
                                  re.sub(r"/\*.*?\*/", "", text, flags=re.S))

    def _take(self, wanted=None):
        token = self._tokens.pop(0)
        if wanted not in (None, token):
            sys.exit(f"{token}: want {wanted}")
        return token

    def type(self):
        """A type, or several with `|` between them."""
        kinds = [self._one()]
        while self._tokens[:1] == ["|"]:
            self._take()
            kinds.append(self._one())
        if all("const" in kind for kind in kinds):
            return {"enum": [kind["const"] for kind in kinds]}
        return kinds[0] if len(kinds) == 1 else {"anyOf": kinds}

    def _one(self):
        token = self._take()
        if token == "{":
            return self._object()
        if token == "Array":
            self._take("<")
            items = self.type()
            self._take(">")
            return {"type": "array", "items": items}
        if token.startswith('"'):
            return {"const": token.strip('"')}
        if token == "IObjectMeta":
            return {"$ref": "#/definitions/V1ObjectMeta"}
        return {"type": {"string": "string", "number": "number", "boolean": "boolean"}[token]}

    def _object(self):
        out = {"type": "object", "additionalProperties": False, "properties": {}, "required": []}
        while self._tokens[0] != "}":
            name = self._take()
            if name == "[":  # [key: string]: type
                while self._take() != "]":
                    pass
                self._take(":")
                out = {"type": "object", "additionalProperties": self.type()}
            else:
                self._field(out, name.strip('"'))
            self._take(";")
        self._take("}")
        return out

    def _field(self, out, name):
        optional = self._tokens[0] == "?"
        if optional:
            self._take()
        self._take(":")
        kind = self.type()
        if name not in SET_BY_OTHERS:
            out["properties"][name] = kind
            out["required"] += [] if optional else [name]


def custom(archive, member, name):
    text = archive.extractfile(member).read().decode()
    return Declaration(re.search(rf"export interface I{name} (.*?\n}})", text, re.S)[1]).type()


def main():
    definitions, wanted, kinds = {}, set(KINDS.values()), dict(KINDS)
    with downloaded(PACKAGE, INTEGRITY) as archive:
        models = Models(archive)
        while wanted:
            model = wanted.pop()
            definitions[model], needed = definition(models, model)
            wanted |= needed - set(definitions)
    for kind, (package, integrity, member) in CUSTOM.items():
        name = kind.rpartition("/")[2]
        with downloaded(package, integrity) as archive:
            definitions[name] = custom(archive, member, name)
        kinds[kind] = name
    sources = [PACKAGE, *(package for package, *_ in CUSTOM.values())]
    lines = ",\n".join(f'    {json.dumps(name)}: {json.dumps(definitions[name])}'
                       for name in sorted(definitions))
    here = os.path.dirname(os.path.abspath(__file__))
    with open(os.path.join(here, "schemas.json"), "w", encoding="ascii") as file:
        file.write(f'{{\n  "version": "{VERSION}",\n  "sources": {json.dumps(sources)},\n'
                   f'  "kinds": {json.dumps(kinds)},\n'
                   f'  "definitions": {{\n{lines}\n  }}\n}}\n')


if __name__ == "__main__":
    main()
