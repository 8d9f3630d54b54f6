"""Lays out what a replica finds in /etc/campanile, and holds that the parts of its surroundings find each other.

laid_out.py compose|kubernetes FOLDER reads from its input what `docker-compose config --format json` or `kubectl
kustomize` made of deploy/, then secret.example.yaml; a schema sees each object alone.
"""

import json
import pathlib
import sys


# As README has it made: `check` reads it.
DATABASE_URL = "postgres://campanile:secret@postgres/campanile"


def put(path, text):
    # Of /etc/campanile alone: elsewhere a replica looks for nothing.
    file = folder / pathlib.PurePosixPath(path).relative_to("/etc/campanile")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def compose(everything):
    replica = everything["services"]["campanile"]
    for config in replica["configs"]:
        put(config["target"], pathlib.Path(everything["configs"][config["source"]]["file"]).read_text())
    for secret in replica["secrets"]:
        name = pathlib.Path(everything["secrets"][secret["source"]]["file"]).name
        put(secret["target"], DATABASE_URL if name == "database-url" else name)
    for service in everything["services"].values():
        for file in (everything["configs"][config["source"]]["file"] for config in service.get("configs", [])):
            assert pathlib.Path(file).is_file(), file
    published = [name for name, service in everything["services"].items() if "ports" in service]
    assert published == ["caddy"], published


def kubernetes(objects):
    named = {(it["kind"], it["metadata"]["name"]): it for it in objects}
    kinds = {kind: [it for it in objects if it["kind"] == kind] for kind, _ in named}
    assert len(named) == len(objects)
    assert {it["metadata"].get("namespace", "campanile") for it in objects} == {"campanile"}
    [deployment] = kinds["Deployment"]
    pod = deployment["spec"]["template"]
    labels, [container] = pod["metadata"]["labels"].items(), pod["spec"]["containers"]
    ports = {port["name"] for port in container["ports"]}
    assert ("ServiceAccount", pod["spec"]["serviceAccountName"]) in named

    [mount] = container["volumeMounts"]
    [volume] = pod["spec"]["volumes"]
    assert mount["name"] == volume["name"]
    for source in volume["projected"]["sources"]:
        if "configMap" in source:
            for key, text in named["ConfigMap", source["configMap"]["name"]]["data"].items():
                put(f"{mount['mountPath']}/{key}", text)
        else:
            data = named["Secret", source["secret"]["name"]]["stringData"]
            items = {item["key"]: item["path"] for item in source["secret"]["items"]}
            assert items.keys() == data.keys(), (items, data.keys())
            for key, path in items.items():
                put(f"{mount['mountPath']}/{path}", data[key])

    selectors = [it["spec"]["selector"] for it in kinds["Service"]]
    selectors += [it["spec"]["selector"]["matchLabels"] for it in kinds["PodDisruptionBudget"] + [deployment]]
    selectors += [it["spec"]["podSelector"]["matchLabels"] for it in kinds["NetworkPolicy"]]
    selectors += [it["labelSelector"]["matchLabels"] for it in pod["spec"]["topologySpreadConstraints"]]
    for selector in selectors:
        assert selector and selector.items() <= labels, selector

    probes = [container[probe]["httpGet"]["port"] for probe in ("startupProbe", "readinessProbe", "livenessProbe")]
    let_in = [port["port"] for it in kinds["NetworkPolicy"] for rule in it["spec"]["ingress"] for port in rule["ports"]]
    targets = lambda service: {port["name"]: port["targetPort"] for port in service["spec"]["ports"]}
    to = {it["metadata"]["name"]: targets(it) for it in kinds["Service"]}
    for port in [*probes, *let_in, *(port for service in to.values() for port in service.values())]:
        assert port in ports, port
    # The world comes to the public listener alone.
    for rule in (rule for it in kinds["Ingress"] for rule in it["spec"]["rules"]):
        for backend in (path["backend"]["service"] for path in rule["http"]["paths"]):
            assert to[backend["name"]][backend["port"]["name"]] == "public", backend


what, folder = sys.argv[1], pathlib.Path(sys.argv[2])
if what == "compose":
    compose(json.load(sys.stdin))
else:
    import yaml  # comes with kubernetes-validate

    kubernetes(list(yaml.safe_load_all(sys.stdin)))
