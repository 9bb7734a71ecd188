#!/usr/bin/python3
"""Makes schemas.json: JSON schemas of the Kubernetes API, for the kinds that the manifests use.

They come from the public OpenAPI definitions, as the npm package @kubernetes/client-node carries
them in its generated models: names and types of fields in MODEL.js, which are required in
MODEL.d.ts.  Unknown fields are refused.  Another version of Kubernetes: change PACKAGE, INTEGRITY
and VERSION, and run this.
"""
import base64
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
SIMPLE = {
    "string": {"type": "string"},
    "boolean": {"type": "boolean"},
    "any": {},
    "Date": {"type": "string", "format": "date-time"},
    "V1MicroTime": {"type": "string", "format": "date-time"},
    "IntOrString": {"type": ["integer", "string"]},
}


def download(directory):
    subprocess.run(["npm", "pack", "--silent", PACKAGE], cwd=directory, check=True,
                   stdout=subprocess.DEVNULL)
    path, = (os.path.join(directory, name) for name in os.listdir(directory))
    with open(path, "rb") as file:
        digest = "sha512-" + base64.b64encode(hashlib.sha512(file.read()).digest()).decode()
    if digest != INTEGRITY:
        sys.exit(f"{PACKAGE}: {digest}: want {INTEGRITY}")
    return path


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


def main():
    definitions, wanted = {}, set(KINDS.values())
    with tempfile.TemporaryDirectory() as directory:
        with tarfile.open(download(directory)) as archive:
            models = Models(archive)
            while wanted:
                model = wanted.pop()
                definitions[model], needed = definition(models, model)
                wanted |= needed - set(definitions)
    lines = ",\n".join(f'    {json.dumps(name)}: {json.dumps(definitions[name])}'
                       for name in sorted(definitions))
    here = os.path.dirname(os.path.abspath(__file__))
    with open(os.path.join(here, "schemas.json"), "w", encoding="ascii") as file:
        file.write(f'{{\n  "version": "{VERSION}",\n  "source": "{PACKAGE}",\n'
                   f'  "kinds": {json.dumps(KINDS)},\n'
                   f'  "definitions": {{\n{lines}\n  }}\n}}\n')


if __name__ == "__main__":
    main()
