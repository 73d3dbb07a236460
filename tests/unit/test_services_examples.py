"""The example inventories: each loads, and its commands are what they look like. Nothing is run."""

from __future__ import annotations

from pathlib import Path

import pytest

from runbook_lib.config.inventory import read_inventory
from runbook_lib.services.command import CommandService, open_service

EXAMPLES = sorted((Path(__file__).parents[2] / "parameters/inventories/examples").glob("*.yaml"))
# What is run, of each kind of thing that runs services.
SSH = "ssh -o BatchMode=yes deploy@user-service.example sudo"
ARGUMENTS = {
    "systemd": {
        "deploy": "sudo /opt/deploy/install user_service 2.1",
        "start": "sudo systemctl start user_service.service",
        "status": "systemctl is-active --quiet user_service.service",
        "restore": "sudo /opt/deploy/put-back user_service kept-7",
    },
    "docker": {
        "start": "docker compose --project-directory /srv/shop up --detach --no-deps user_service",
        "backup": "docker inspect --format {{.Image}} shop-user_service-1",
        "restore": "docker tag kept-7 registry.example/shop/user_service:current",
    },
    "kubectl": {
        "deploy": "kubectl --namespace shop set image deployment/user-service"
        " app=registry.example/shop/user_service:2.1",
        "backup": "kubectl --namespace shop get deployment/user-service --output"
        " jsonpath={.spec.template.spec.containers[0].image}",
    },
    "ssh": {
        "stop": f"{SSH} systemctl stop user_service",
        "deploy": f"{SSH} /opt/deploy/install user_service 2.1",
    },
}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_loads_and_its_commands_are_run_as_they_look(path: Path) -> None:
    inventory = read_inventory(path)
    opened = {name: open_service(name, given, path.parent) for name, given in inventory.services.items()}
    for service in opened.values():
        assert isinstance(service, CommandService)
        for command in service.commands:
            arguments = service.arguments(command, version="2.1", reference="kept-7")
            assert all(arguments)
        if service.check.sql:
            assert service.check.database in inventory.databases
    service = opened["user_service"]
    assert isinstance(service, CommandService)
    assert {"deploy", "start", "stop", "status", "drain", "backup", "restore"} == service.commands.keys()
    for command, expected in ARGUMENTS[path.stem].items():
        assert service.arguments(command, version="2.1", reference="kept-7") == expected.split(" ")


def test_there_is_an_example_of_each_kind() -> None:
    assert [path.stem for path in EXAMPLES] == sorted(ARGUMENTS)
