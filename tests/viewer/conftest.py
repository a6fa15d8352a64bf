"""Settings and fixtures of all tests of the viewer."""

import pytest

from tests.viewer import browsing, inside_stores


@pytest.fixture(scope="module")
def chromium():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(browsing.CHROMIUM), args=browsing.FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """A store with predictions, layers and times of a base and three models below it."""
    path = tmp_path_factory.mktemp("inside") / "results.duckdb"
    inside_stores.publish(path)
    return path
