"What every test in a browser builds on: JupyterLab works as for a user, and no complaint goes unheard."

from __future__ import annotations

import pytest

SLIDER = """
import ipywidgets
slider = ipywidgets.IntSlider(value=5, max=10)
slider
"""


@pytest.mark.slow
def test_the_kernel_hears_a_slider_moved_by_keys(notebook):
    tab = notebook(SLIDER, "seen = []; slider.observe(lambda change: seen.append(change.new), 'value')")
    tab.run_all()
    before = tab.traffic()
    for _ in range(3):
        tab.page.locator(".widget-slider .noUi-handle").press("ArrowRight")
        tab.settle()
    tab.page.locator(".widget-slider .widget-readout", has_text="8").wait_for()
    assert tab.run("slider.value, seen") == "(8, [6, 7, 8])"
    used = tab.traffic() - before
    assert used["frames_sent"] >= 4 and 400 < used["bytes_sent"] < used["bytes_received"] < 50_000
    assert not tab.errors and not tab.elsewhere
    assert tab.shot("slider").stat().st_size > 10_000


@pytest.mark.slow
def test_a_cell_that_fails_fails_the_test(notebook):
    tab = notebook("x = 1", "print('before'); x / 0", "x")
    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        tab.run_all()
    assert tab.run("print(x + 1)") == "2\n"  # the kernel lives on


@pytest.mark.slow
def test_complaints_and_requests_are_heard(tab):
    tab.page.set_content("<script>console.error('one'); new WebSocket('ws://example.invalid/two')</script>")
    tab.page.evaluate("() => { setTimeout(() => { throw new Error('three') }) }")
    tab.page.evaluate("() => fetch('http://example.invalid/four').catch(() => 0)")
    assert "one" in tab.errors and any("three" in error for error in tab.errors)
    assert sorted(tab.elsewhere) == ["http://example.invalid/four", "ws://example.invalid/two"]
