"""hello-addon: a cluster gets the ConfigMaps labelled hello=world in its namespace on the hub."""

from addon_framework.api.core import CONFIGMAPS
from addon_framework.kube import Controller, Manager, Watch
from addon_framework.plugins import AddonDescription, agent_manifests, hookimpl

NAME = "hello-addon"


class HelloAddon:
    @hookimpl
    def addon_describe(self):
        return AddonDescription(name=NAME, description="Copies ConfigMaps from the hub")

    @hookimpl
    def addon_manifests(self, values):
        rules = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["create", "patch"]}]
        return agent_manifests(NAME, values["install_namespace"], values["cluster_name"], spoke_rules=rules)

    @hookimpl
    def addon_hub_permissions(self):
        return [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list", "watch"]}]

    @hookimpl
    async def addon_agent(self, context):
        manager = Manager(context.hub, name=NAME)
        manager.add(Copier(context))
        await manager.run()


class Copier(Controller):
    def __init__(self, context):
        self.context, self.where = (
            context,
            {"namespace": context.cluster_name, "label_selector": "hello=world"},
        )

    def watches(self):
        return [Watch(CONFIGMAPS, **self.where)]

    async def reconcile(self, key):
        if (found := self.cache(CONFIGMAPS, **self.where).get(key)) is not None:
            metadata = {"name": key.name, "namespace": self.context.install_namespace}
            copy = {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": metadata,
                "data": found.get("data", {}),
            }
            await self.context.spoke.apply(copy, field_manager=NAME)
