"""`--site DIR`: a site that is built already."""


def pytest_addoption(parser):
    parser.addoption("--site", default=None, help="folder of the built documentation (default: built by the test)")
