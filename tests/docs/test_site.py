"""The site builds without a warning, its links lead somewhere, it asks no other host, and it fits on a phone."""

import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.docs.site import Page, build
from tests.report.browser import chromium

pytestmark = pytest.mark.slow
PHONE, DESK = {"width": 390, "height": 800}, {"width": 1280, "height": 900}
LOOKS = ((DESK, "light"), (PHONE, "light"), (PHONE, "dark"), (DESK, "dark"))
# Elements that stick out to the right and are not inside of a box that scrolls by itself.
STICK_OUT = """() => {
  const width = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth <= width) return [];
  return [...document.querySelectorAll("main *")].filter((one) => one.getBoundingClientRect().right > width + 1)
    .slice(0, 3).map((one) => one.outerHTML.slice(0, 120));
}"""
FITS = "() => document.documentElement.scrollWidth <= document.documentElement.clientWidth"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("zensical", reason="the extra docs is not installed")
    return build(tmp_path_factory.mktemp("docs")).resolve()


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    found = {path: Page(path) for path in sorted(site.rglob("*.html"))}
    assert len(found) > 50
    return found


def test_links_lead_to_pages_and_anchors(site: Path, pages: dict[Path, Page]) -> None:
    broken = []
    for path, page in pages.items():
        if path.name == "404.html":  # its links are those of a page at the top, wherever it is shown
            continue
        for link in page.links:
            target = page.target(link)
            if target is None:
                continue
            file, anchor = target
            known = pages[file].names if file in pages else set()
            if not file.exists() or (anchor and file.suffix == ".html" and anchor not in known):
                broken.append(f"{path.relative_to(site)}: {link}")
    assert not broken, "\n".join(broken)


def test_pages_load_from_here_alone(site: Path, pages: dict[Path, Page]) -> None:
    for path, page in pages.items():
        for link in page.loaded:
            target = page.target(link)
            place = f"{path.relative_to(site)} loads {link}"
            if path.name != "404.html" and not link.startswith("data:"):
                assert target is not None, f"{place}, from another host"
                assert target[0].exists(), f"{place}, which does not exist"


@pytest.fixture
def address(site: Path) -> Iterator[str]:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_pages_fit_in_a_browser(site: Path, pages: dict[Path, Page], address: str) -> None:
    """No page scrolls sideways, light or dark, and a browser that reads them all asks no other host."""
    shown = [path.relative_to(site) for path in pages if path.parent.name != "decisions"]
    with chromium() as browser:
        window = browser.new_page(viewport=DESK, color_scheme="light")
        asked, complaints = [], []
        window.on("request", lambda request: asked.append(request.url))
        window.on("pageerror", lambda error: complaints.append(f"{window.url}: {error}"))
        for number, path in enumerate(shown):
            window.goto(f"{address}/{path}", wait_until="domcontentloaded")
            # Colours move nothing: a few pages are seen in all four ways.
            for size, scheme in LOOKS if number % 8 == 0 else LOOKS[:2]:
                window.set_viewport_size(size)
                window.emulate_media(color_scheme=scheme)
                assert window.evaluate(FITS), f"{path}, {size['width']} px: {window.evaluate(STICK_OUT)}"
        assert not complaints
        assert {url for url in asked if not url.startswith((address, "data:", "blob:"))} == set()


def test_schemes_follow_the_reader(address: str) -> None:
    scheme = "document.body.dataset.mdColorScheme"
    with chromium() as browser:
        for colours, name, picture in (("light", "default", "light"), ("dark", "slate", "dark")):
            window = browser.new_page(viewport=DESK, color_scheme=colours)
            window.goto(f"{address}/index.html")
            window.wait_for_function(f"{scheme} === '{name}'")
            shown = window.locator("article img:visible")
            assert [one.get_attribute("src") for one in shown.all()] == [
                f"figures/cut-network-{picture}.svg#only-{picture}"
            ]
            window.close()
