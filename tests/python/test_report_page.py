"""The page that `report` writes, in a real browser: it opens without errors, sorts, filters, and works by keyboard."""

import base64
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import Stillbit, Tensor, make_array, make_array_for, make_bf16, make_tensor, save_npy, write_tensors
from test_report import HOSTILE, model_of

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
if CHROMIUM is None or DRIVER is None:
    pytest.skip("there is no chromium with its driver", allow_module_level=True)
webdriver = pytest.importorskip("selenium.webdriver")

from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.select import Select  # noqa: E402

Browser = Any


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    options = webdriver.ChromeOptions()
    # In containers, tests run as root and have little shared memory.
    for argument in ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]:
        options.add_argument(argument)
    options.binary_location = CHROMIUM
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


def open_report(browser: Browser, stillbit: Stillbit, source: Path, fragment: str = "") -> dict[str, Any]:
    page = source.with_suffix(".html")
    stillbit("report", source, "-o", page)
    browser.get("about:blank")
    browser.get(page.as_uri() + fragment)
    expect_no_errors(browser)
    return model_of(page)


def expect_no_errors(browser: Browser) -> None:
    assert browser.get_log("browser") == []


def text_of(browser: Browser, selector: str) -> str:
    text = browser.find_element(By.CSS_SELECTOR, selector).text
    assert isinstance(text, str)
    return text


def names_in_table(browser: Browser) -> list[str]:
    return [button.text for button in browser.find_elements(By.CSS_SELECTOR, "#tensors tbody th button")]


def column(browser: Browser, title: str) -> Any:
    return browser.find_element(By.XPATH, f"//table[@id='tensors']//th/button[text()='{title}']")


@pytest.fixture(scope="module")
def small_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tensors = {f"layers.{i}.weight": make_bf16((30 + 10 * i, 64), i) for i in range(5)}
    tensors["words"] = Tensor("F32", (200, 50), make_array_for("sparse", "<f4", (200, 50)).tobytes())
    tensors["tied"] = tensors["layers.0.weight"]
    tensors["empty"] = make_tensor("F32", (0, 7))
    tensors["scalar"] = make_tensor("I64", ())
    return write_tensors(tmp_path_factory.mktemp("small") / "small.safetensors", tensors)


def test_it_opens(browser: Browser, stillbit: Stillbit, small_model: Path) -> None:
    model = open_report(browser, stillbit, small_model)
    assert browser.title == "small.safetensors – Stillbit report"
    assert text_of(browser, "h1") == "small.safetensors"
    assert names_in_table(browser) == [tensor["name"] for tensor in model["tensors"]]
    # The largest tensor is shown, and everything of it.
    assert text_of(browser, "#details-title") == "words"
    for figure in ["heat", "histogram", "bits", "prices", "bound", "transfer"]:
        assert browser.find_element(By.ID, figure).is_displayed()
        assert browser.find_element(By.ID, figure).find_elements(By.CSS_SELECTOR, "svg, table")


def test_what_it_shows_is_what_the_model_says(browser: Browser, stillbit: Stillbit, small_model: Path) -> None:
    model = open_report(browser, stillbit, small_model, "#tensor-2")
    tensor = model["tensors"][1]
    assert text_of(browser, "#details-title") == tensor["name"]
    assert f"({tensor['stored_bytes']:,})" in text_of(browser, "#facts")
    assert text_of(browser, "#totals div:first-child dd") == f"{model['raw_bytes'] / model['stored_bytes']:.2f}"
    assert text_of(browser, "#bits tr.sum td:last-child") == f"{8 * tensor['stored_bytes'] / (40 * 64):.3f}"
    first_link = model["links"][0]
    assert f"{first_link['bytes_per_second'] / 1e9:.2f} GB/s" in text_of(browser, "#transfer")
    nanoseconds = tensor["raw_bytes"] / first_link["bytes_per_second"] * 1e9
    assert f"{nanoseconds:.0f} ns" in text_of(browser, "#transfer")
    assert "as another" in text_of(browser, "#tensors")


def test_it_sorts(browser: Browser, stillbit: Stillbit, small_model: Path) -> None:
    model = open_report(browser, stillbit, small_model)
    by_ratio = [tensor["name"] for tensor in sorted(model["tensors"], key=lambda tensor: -tensor["ratio"])]
    column(browser, "Ratio").click()
    assert names_in_table(browser) == by_ratio
    column(browser, "Ratio").send_keys(Keys.ENTER)  # by keyboard, and now from the smallest up
    assert names_in_table(browser)[0] == by_ratio[-1]
    assert column(browser, "Ratio").find_element(By.XPATH, "..").get_attribute("aria-sort") == "ascending"
    column(browser, "Tensor").click()
    assert names_in_table(browser) == sorted(tensor["name"] for tensor in model["tensors"])
    assert column(browser, "Ratio").find_element(By.XPATH, "..").get_attribute("aria-sort") == "none"
    expect_no_errors(browser)


def test_it_filters(browser: Browser, stillbit: Stillbit, small_model: Path) -> None:
    model = open_report(browser, stillbit, small_model)
    box = browser.find_element(By.ID, "filter")
    box.send_keys("LAYERS.")
    assert names_in_table(browser) == [f"layers.{i}.weight" for i in range(5)]
    assert text_of(browser, "#count").startswith("5 of 9 tensors")
    box.send_keys("nothing")
    assert names_in_table(browser) == []
    assert text_of(browser, "#count").startswith("0 of 9 tensors")
    box.clear()
    box.send_keys("i64")
    assert names_in_table(browser) == ["scalar"]
    box.send_keys(Keys.BACKSPACE * 3)
    Select(browser.find_element(By.ID, "codec")).select_by_value("sparse")
    assert names_in_table(browser) == [tensor["name"] for tensor in model["tensors"] if tensor["codec"] == "sparse"]
    expect_no_errors(browser)


def test_it_works_by_keyboard(browser: Browser, stillbit: Stillbit, small_model: Path) -> None:
    open_report(browser, stillbit, small_model)
    browser.find_element(By.CSS_SELECTOR, "#tensors tbody button").send_keys(Keys.ARROW_DOWN)
    browser.switch_to.active_element.send_keys(Keys.ARROW_DOWN)
    browser.switch_to.active_element.send_keys(Keys.ENTER)
    assert text_of(browser, "#details-title") == "layers.2.weight"
    assert browser.switch_to.active_element.get_attribute("aria-pressed") == "true"
    assert "layers.2.weight" in browser.find_element(By.ID, "announce").get_attribute("textContent")
    browser.switch_to.active_element.send_keys(Keys.END)
    assert browser.switch_to.active_element.text == "scalar"

    heat = browser.find_element(By.CSS_SELECTOR, "#heat svg")
    heat.send_keys(Keys.ARROW_DOWN)
    assert text_of(browser, "#heat .tip").startswith("Bit 14 (exponent), column 0: ")
    heat.send_keys(Keys.ARROW_RIGHT)
    assert text_of(browser, "#heat .tip").startswith("Bit 14 (exponent), column 1: ")
    expect_no_errors(browser)


def test_everything_has_a_name_for_screen_readers(browser: Browser, stillbit: Stillbit, small_model: Path) -> None:
    open_report(browser, stillbit, small_model)
    nodes = browser.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    roles = {"button", "link", "searchbox", "combobox", "image", "img", "region"}
    named = [node for node in nodes if not node["ignored"] and node["role"]["value"] in roles]
    assert len(named) > 30
    assert [node["role"]["value"] for node in named if not node["name"]["value"]] == []


def test_hostile_names_are_shown_and_do_nothing(browser: Browser, stillbit: Stillbit, tmp_path: Path) -> None:
    source = tmp_path / "a<b>&amp;\"'.safetensors"
    write_tensors(source, {name: make_bf16((20, 9 + i), i) for i, name in enumerate(HOSTILE)}, {HOSTILE[0]: HOSTILE[0]})
    open_report(browser, stillbit, source)
    assert text_of(browser, "h1") == source.name
    shown = names_in_table(browser)
    assert shown[0] == HOSTILE[0]
    assert shown[3] == HOSTILE[3]
    assert "\\u{0} \\u{1} \\u{1b}[31m" in shown[4]
    assert shown[5].startswith("\\u{202e}right to left")
    assert shown[7] == "(no name)"
    assert len(shown[8]) < 100
    assert shown[9] == HOSTILE[9]
    for i in range(len(HOSTILE)):
        browser.find_elements(By.CSS_SELECTOR, "#tensors tbody th button")[i].click()
    assert browser.execute_script("return window.hacked") is None
    assert browser.execute_script("return document.querySelectorAll('img, iframe, object').length") == 0
    assert browser.execute_script("return document.scripts.length") == 3
    # A name of 10 kB does not make the page wider than the window.
    assert browser.execute_script("return document.documentElement.scrollWidth <= innerWidth")
    expect_no_errors(browser)


def test_three_hundred_tensors_are_few_elements(browser: Browser, stillbit: Stillbit, tmp_path: Path) -> None:
    tensors = {f"model.layers.{i // 10}.part.{i % 10}.weight": make_bf16((16, 8 + i % 50), i) for i in range(300)}
    open_report(browser, stillbit, write_tensors(tmp_path / "x.safetensors", tensors))
    assert len(names_in_table(browser)) == 300
    before = browser.execute_script("return document.querySelectorAll('*').length")
    assert before < 300 * 22 + 1500
    for row in browser.find_elements(By.CSS_SELECTOR, "#tensors tbody th button")[:40]:
        browser.execute_script("arguments[0].click()", row)
    # Only one tensor is drawn at a time.
    assert browser.execute_script("return document.querySelectorAll('*').length") < before + 300
    expect_no_errors(browser)


def test_thousands_come_when_they_are_asked_for(browser: Browser, stillbit: Stillbit, tmp_path: Path) -> None:
    tensors = {f"t{i}": make_tensor("U8", (3,), i) for i in range(1000)}
    open_report(browser, stillbit, write_tensors(tmp_path / "x.safetensors", tensors))
    assert len(browser.find_elements(By.CSS_SELECTOR, "#tensors tbody tr")) == 400
    browser.find_element(By.ID, "more").click()
    assert len(browser.find_elements(By.CSS_SELECTOR, "#tensors tbody tr")) == 1000
    assert not browser.find_element(By.ID, "more").is_displayed()


@pytest.mark.parametrize("descr", ["<f8", "<c8", "|b1", "|u1", "<i4", "<f2"])
def test_every_kind_of_number_is_drawn(browser: Browser, stillbit: Stillbit, tmp_path: Path, descr: str) -> None:
    open_report(browser, stillbit, save_npy(tmp_path / "x.npy", make_array(descr, (300, 40))))
    assert text_of(browser, "#histogram h3") in {"Exponents against the code", "Lengths of integers against the code"}
    assert len(browser.find_elements(By.CSS_SELECTOR, "#heat image")) == 1


def test_zeros_alone_are_drawn(browser: Browser, stillbit: Stillbit, tmp_path: Path) -> None:
    for array in [np.zeros((100, 40), np.int32), np.zeros((100, 40), np.float32), np.zeros((0,), np.float32)]:
        open_report(browser, stillbit, save_npy(tmp_path / "x.npy", array))
        # Such numbers are easily divided by.
        assert not {"NaN", "Infinity", "undefined"} & set(text_of(browser, "body").split())


def test_light_dark_narrow_and_paper(browser: Browser, stillbit: Stillbit, small_model: Path) -> None:
    open_report(browser, stillbit, small_model)
    colors = {}
    for scheme in ["light", "dark"]:
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        colors[scheme] = browser.execute_script(
            "const s = getComputedStyle(document.documentElement); return [s.backgroundColor, s.color]"
        )
    assert colors["light"] == list(reversed(colors["dark"])) or colors["light"] != colors["dark"]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": 360, "height": 700, "deviceScaleFactor": 1, "mobile": True}
    )
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 360
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    paper = base64.b64decode(browser.execute_cdp_cmd("Page.printToPDF", {})["data"])
    assert paper.startswith(b"%PDF") and len(paper) > 20_000
    expect_no_errors(browser)
