from addon_framework.testing import AddonContract


class TestHello(AddonContract):
    addon = "hello-addon"
