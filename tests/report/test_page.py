"""The HTML report in Chromium."""

from __future__ import annotations

import pytest
from report import documents

LIGHT, DARK = {"prefers_color_scheme": "light"}, {"prefers_color_scheme": "dark"}
SEARCH = "input[type=search]"
# Rows and cells as a person sees them.
ROWS = """((table) => [...document.querySelectorAll(`#${table} tbody tr`)].map((row) =>
    [...row.cells].map((cell) => cell.innerText.trim())))"""
SETTLED = "await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));"


@pytest.fixture
def page(chromium, reports):
    """Opens a report; afterwards nothing may have been said in the console, nor anything loaded."""

    def open_report(name="small", **options):
        chromium.open(reports[name], **{**LIGHT, **options})
        return chromium

    yield open_report
    assert chromium.console() == []
    assert chromium.value("performance.getEntriesByType('resource').map((each) => each.name)") == []


def search(page, text):
    page.run(
        "const input = document.querySelector(arguments[0]); input.value = arguments[1];"
        f"input.dispatchEvent(new Event('input')); {SETTLED}",
        SEARCH,
        text,
    )


def rows(page, table):
    return page.value(f"{ROWS}(arguments[0])", table)


def column(page, table, number):
    return [row[number].split("\n")[0] for row in rows(page, table)]


def click(page, selector, text=""):
    found = page.value(
        "(() => { const found = [...document.querySelectorAll(arguments[0])].filter((each) =>"
        " each.innerText.includes(arguments[1])); found.forEach((each) => each.click()); return found.length; })()",
        selector,
        text,
    )
    assert found == 1, f"{found} elements {selector} with {text!r}"


def heading(page, table):
    return page.value("document.querySelector(`#${arguments[0]} h2`).innerText.trim()", table)


# Content


@pytest.mark.parametrize(
    ("name", "verdict"),
    [
        ("small", "6 roles can write the agent configuration"),
        ("clean", "No server can write the agent configuration"),
        ("empty", "No server can write the agent configuration"),
        ("incomplete", "No known server can write the agent configuration"),
        ("large", "5 roles can write the agent configuration"),
        ("demo", "No server can write the agent configuration"),
    ],
)
def test_the_headline_shows_the_writers(page, name, verdict):
    assert page(name).value("document.querySelector('h1').innerText") == verdict


def test_the_head_shows_the_deadline_and_the_unknown(page):
    lead = page().value("document.querySelector('#lead').innerText")
    assert lead.startswith("legacy-monitoring at any time, ")
    assert "and 3 more. For 4 principals it is unknown. 2 principals can write because they administer" in lead
    notices = page().value("document.querySelector('#notices').textContent")
    assert f"Account staging {documents.HOSTILE[0]} was not read. The role could not be assumed" in notices
    assert "10 reads denied. Dependent results are unknown." in notices
    assert "iam:GetAccessKeyLastUsed" in notices


GRANT = "can change policies so that a server can write"


def test_principals_that_can_let_a_server_write_are_in_the_head(page):
    read = "document.querySelector('#lead').innerText"
    assert page("clean").value(read) == f"Controller and restorer {GRANT}."
    lead = page("users").value(read)
    assert lead.endswith(f" it is unknown. Controller {GRANT}. It is unknown whether on-call {GRANT}.")
    assert page("demo").value(read) == f"controller {GRANT}.", "the user that runs the playbooks"
    assert page("empty").value(read) == ""
    many = page("small").value(read)
    assert f" and 6 more {GRANT}. It is unknown whether on-call, " in many


def test_principals_that_can_let_a_server_write_are_in_the_map(page):
    lanes = """[...document.querySelectorAll('.lane.rest')].map((lane) => lane.innerText.split('\\n'))"""
    assert page("clean").value(lanes) == [["2 principals", GRANT, "role Controller and user restorer"]]
    assert page("users").value(lanes) == [
        ["1 principal", GRANT, "role Controller"],
        ["1 principal", f"unknown whether it {GRANT}", "user on-call"],
    ]


def test_hybrid_servers_are_shown_with_their_role(page):
    opened = page("hybrid")
    lanes = "[...document.querySelectorAll('.lane')].map((lane) => [...lane.querySelectorAll('.chip')].map((chip) => "
    first, *_others = opened.value(f"{lanes}chip.innerText))")
    assert first == ["db-1 mi-00000000000000001", "db-2 mi-00000000000000002"]
    assert {row[0].split("\n")[0]: row[4] for row in rows(opened, "instances")} == {
        "db-0": "not in this report",
        "db-1": "can write",
        "db-2": "can write",
    }


def test_a_writer_stands_out_in_the_map(page):
    lanes = page().value(
        """[...document.querySelectorAll('.lane')].map((lane) => ({
          name: lane.querySelector('.name').innerText.trim(),
          text: lane.innerText,
          fill: getComputedStyle(lane).backgroundColor,
          line: getComputedStyle(lane.querySelector('.link'), '::after').borderTopWidth,
          instances: [...lane.querySelectorAll('.chip')].map((chip) => chip.innerText),
        }))"""
    )
    assert lanes[0]["name"] == "legacy-monitoring", "who can write at any time comes before who has a window"
    assert lanes[0]["instances"] == ["batch-1 i-00000000000000007", "batch-2 i-00000000000000008"]
    [window] = [lane for lane in lanes if lane["name"] == documents.ADMIN]
    assert "can write until 09:44 UTC" in window["text"]
    assert window["instances"] == ["collector-1 i-0000000000000002a"]
    [server] = [lane for lane in lanes if lane["name"] == documents.SERVER]
    assert (server["fill"], server["instances"]) == ("rgba(0, 0, 0, 0)", [])
    assert "64 instances" in server["text"]
    assert lanes[0]["fill"] == window["fill"] != server["fill"]
    assert float(lanes[0]["line"].removesuffix("px")) >= 2 * float(server["line"].removesuffix("px"))
    [others] = [lane for lane in lanes if lane["name"] == "Other roles"]
    assert "not in this report" in others["text"], "a role that was not read is not judged"
    [administrators] = [lane for lane in lanes if lane["name"] == "2 principals"]
    assert "can write: they administer the account" in administrators["text"]


def test_only_users_of_the_agent_are_on_premises(page):
    lanes = page("users").value(
        "Object.fromEntries([...document.querySelectorAll('.lane:not(.rest)')].map((lane) =>"
        " [lane.querySelector('.name').innerText.trim(), lane.innerText]))"
    )
    assert {name: "on premises" in text for name, text in lanes.items()} == {
        "agent-db-1": True,
        "deploy": False,
        "alice": False,
    }
    assert "not for the agent" in lanes["deploy"]


def test_the_map_of_a_large_account_is_short(page):
    opened = page("large")
    assert opened.value("document.querySelectorAll('.lane').length") < 40
    assert opened.value("document.querySelector('#map').innerText").count("978 more roles") == 1


def test_the_time_line_has_windows_and_keys(page):
    listed = page().value("[...document.querySelectorAll('.plot > li:not(.grid)')].map((row) => row.innerText)")
    assert listed[0].startswith(f"{documents.ADMIN}\nopen, deadline 2026-11-25 09:44 UTC, for i-0000000000000002a")
    assert "agent-db-2\n312 days, active, last used 2026-11-25" in listed
    assert "agent-db-2\n2 days, active, never used" in listed
    assert "agent-db-3\n97 days, active, last use unknown" in listed
    assert "agent-admin\n188 days, inactive, last used 2026-07-28" in listed


def test_an_account_without_findings_reports_that(page):
    assert "Nothing was found to be wrong." in page("clean").value("document.querySelector('#findings').innerText")
    assert "No findings" in page("empty").value("document.querySelector('#tally').innerText")


def test_limits_of_every_answer_are_mentioned_once(page):
    assert page().value("document.body.innerText").count("Service control policies") == 1


# Hostile names


def test_hostile_names_are_shown_and_not_run(page):
    opened = page()
    click(opened, "summary")
    shown = opened.value("document.body.innerText")
    for text in documents.SHOWN:
        # In the map, and in the tables of findings, principals, instances and parameters
        assert shown.count(text) > 5
    assert "\u202e" not in shown
    assert "\u200f" not in shown
    assert opened.value("window.hostile") is None
    assert opened.value("document.querySelectorAll('img, iframe, object').length") == 0
    assert opened.value("document.scripts.length") == 2


def test_only_the_scripts_of_the_report_may_run(chromium, reports):
    chromium.open(reports["small"])
    for script in (
        "const made = document.createElement('script'); made.append('window.hostile = 5'); document.body.append(made);",
        "document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"window.hostile = 6\">');",
        "await fetch('http://127.0.0.1:9/').catch(() => null);",
    ):
        chromium.run(f"{script} {SETTLED}")
        assert "Content Security Policy" in "".join(chromium.console())
    assert chromium.value("window.hostile") is None


def test_without_javascript_it_shows_where_the_data_is(chromium, reports):
    chromium.command("Emulation.setScriptExecutionDisabled", value=True)
    try:
        chromium.open(reports["small"])
        document = chromium.command("DOM.getDocument")
        found = chromium.command("DOM.querySelector", nodeId=document["root"]["nodeId"], selector="noscript p")
        html = chromium.command("DOM.getOuterHTML", nodeId=found["nodeId"])["outerHTML"]
    finally:
        chromium.command("Emulation.setScriptExecutionDisabled", value=False)
    assert "The JSON file of the same audit contains the same data." in html


# Tables


def test_findings_are_sorted_by_severity(page):
    severities = column(page(), "findings", 0)
    assert severities == ["error"] * 9 + ["warning"] * 2 + ["notice"] * 3


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("near_limit", ["AmazonCloudWatch-windows"]),
        ("ROTATE_KEYS two", ["user/agent-db-2"]),
        ("us-east-9", []),
        ("  ", None),
    ],
)
def test_the_search_finds_all_words_in_any_column(page, text, found):
    opened = page()
    search(opened, text)
    if found is None:
        assert heading(opened, "findings") == "Findings14"
    else:
        assert column(opened, "findings", 1) == found
        assert heading(opened, "findings") == f"Findings{len(found)} of 14"
    if found == []:
        assert "Nothing matches the filter." in opened.value("document.querySelector('#findings').innerText")
    assert opened.value("document.querySelector('#status').textContent").startswith("Shown: ")


def test_an_account_and_a_region_filter_all_tables(page):
    opened = page()
    for label, value in (("Account", "production"), ("Region", "us-east-1")):
        opened.run(
            "const found = document.querySelector(`select[aria-label=${arguments[0]}]`); found.value = arguments[1];"
            "found.dispatchEvent(new Event('change'));",
            label,
            value,
        )
    assert column(opened, "instances", 0) == ["batch-1", "batch-2"]
    assert column(opened, "parameters", 0) == []
    assert set(column(opened, "principals", 1)) == {"production"}


def test_buttons_filter_by_severity(page):
    opened = page()
    click(opened, "#findings .filters button", "2 warning")
    assert set(column(opened, "findings", 0)) == {"warning"}
    click(opened, "#findings .filters button", "3 notice")
    assert column(opened, "findings", 0) == [*["warning"] * 2, *["notice"] * 3]
    pressed = opened.value("[...document.querySelectorAll('[aria-pressed=true]')].map((each) => each.innerText)")
    assert pressed == ["2 warning", "3 notice"]
    click(opened, "#findings .filters button", "2 warning")
    click(opened, "#findings .filters button", "3 notice")
    assert heading(opened, "findings") == "Findings14"


def test_buttons_filter_writers(page):
    opened = page()
    click(opened, "#instances .filters button", "Can write")
    assert set(column(opened, "instances", 5)) == {"can write"}
    assert {"collector-1", "batch-1", "batch-2"} < set(column(opened, "instances", 0))


def test_a_header_sorts_both_ways_and_missing_values_come_last(page):
    opened = page()
    ages = ["312", "188", "97", "41", "2"]
    assert column(opened, "keys", 4) == ages
    click(opened, "#keys th button", "Age")
    assert column(opened, "keys", 4) == ages[::-1]
    states = "[...document.querySelectorAll('#keys th')].map((header) => header.getAttribute('aria-sort'))"
    assert opened.value(states) == [None, None, None, None, "ascending", None, None]
    click(opened, "#keys th button", "Last used")
    first = column(opened, "keys", 5)
    click(opened, "#keys th button", "Last used")
    second = column(opened, "keys", 5)
    assert first[:3] == second[:3][::-1] == ["2026-07-28", "2026-11-25", "2026-11-25"]
    assert set(first[3:]) == set(second[3:]) == {"never", "unknown"}


def test_names_are_sorted_by_their_numbers(page):
    opened = page("clean")
    click(opened, "#instances th button", "Instance profile")
    click(opened, "#instances th:first-child button")
    assert column(opened, "instances", 0) == [f"web-{number}" for number in range(1, 13)]


def test_more_rows_are_shown_on_demand(page):
    opened = page("large")
    assert len(rows(opened, "instances")) == 25
    click(opened, "#instances .more button", "Show 250 more")
    assert len(rows(opened, "instances")) == 275
    assert opened.value("document.activeElement.rowIndex") == 26, "the focus goes on where the new rows begin"
    search(opened, "web-9999")
    assert column(opened, "instances", 0) == ["web-9999"]
    search(opened, "web")
    assert len(rows(opened, "instances")) == 25


# Size and speed


def test_a_large_report_is_small_enough(reports):
    assert reports["large"].stat().st_size < 5_000_000


def test_a_large_account_is_shown_filtered_and_sorted_with_a_few_calls_an_object(page):
    objects = 12_000  # principals and instances
    opened = page("large")
    calls, layouts = opened.work()
    assert 0 < calls < 60 * objects
    for step in (
        lambda: search(opened, "application-0999"),
        lambda: search(opened, ""),
        lambda: click(opened, "#instances th:first-child button"),
        lambda: click(opened, "#findings th button", "Object"),
    ):
        before = layouts
        step()
        calls, layouts = opened.work()
        assert 0 < calls < 15 * objects
        assert layouts < before + 10
    assert column(opened, "instances", 0)[:3] == ["web-0", "web-1", "web-2"]
    search(opened, "application-0999")
    assert "application-0999-role" in column(opened, "principals", 0)


# Screens, paper and people


@pytest.mark.parametrize("name", ["small", "large", "demo"])
def test_the_page_does_not_scroll_sideways(page, name):
    opened = page(name)
    wide = "[...document.querySelectorAll('.scroll')].filter((each) => each.scrollWidth > each.clientWidth).length"
    for width in (320, 360, 700, 840, 961, 1024, 1280, 1920):
        opened.resize(width)
        assert opened.value("document.documentElement.scrollWidth") <= width
        assert opened.value(wide) == 0


@pytest.mark.parametrize(
    ("name", "scheme", "width"),
    [
        ("small", LIGHT, 1280),
        ("small", DARK, 360),
        ("clean", DARK, 1280),
        ("empty", LIGHT, 360),
        ("demo", DARK, 360),
    ],
    ids=["light", "dark and narrow", "clean", "empty", "demo"],
)
def test_an_accessibility_engine_finds_nothing(page, packages, name, scheme, width):
    opened = page(name, width=width, **scheme)
    opened.run("document.querySelectorAll('details').forEach((each) => { each.open = true; });")
    opened.command("Runtime.evaluate", expression=(packages / "axe-core" / "axe.min.js").read_text())
    answer = opened.value("axe.run().then(({violations, incomplete, passes}) => ({violations, incomplete, passes}))")
    assert {"color-contrast", "document-title"} < {rule["id"] for rule in answer["passes"]}
    problems = [*answer["violations"], *answer["incomplete"]]
    assert [(rule["id"], [node["html"][:200] for node in rule["nodes"]]) for rule in problems] == []


def test_all_of_it_works_from_the_keyboard(page):
    opened = page()
    focused = """(() => { const at = document.activeElement; const style = getComputedStyle(at);
      return {text: (at.getAttribute('aria-label') || at.innerText).trim(), seen: style.outlineStyle !== 'none'
        && parseFloat(style.outlineWidth) >= 2}; })()"""
    stops = []
    while not stops or stops[-1]["text"] != "Access":
        opened.press("Tab", code=9)
        stops.append(opened.value(focused))
        assert len(stops) < 60
    names = [stop["text"] for stop in stops]
    assert [stop for stop in stops if not stop["seen"]] == []
    assert names[0] == "Skip to the findings"
    order = [
        "10 reads denied. Dependent results are unknown.",
        "Search in all tables",
        "9 error",
        "Severity",
        "Can write",
    ]
    assert [name for name in names if name in order] == order
    opened.press("Enter", code=13, text="\r")
    assert opened.value("document.querySelector('#principals [aria-sort]').innerText") == "Access"
    assert opened.value(focused)["text"] == "Access", "sorting keeps the focus"
    for _ in range(len(names) - 1 - names.index("Search in all tables")):
        opened.press("Tab", code=9, shift=True)
    opened.write("legacy")
    opened.run(SETTLED)
    assert set(column(opened, "findings", 1)) == {"role/legacy-monitoring"}


@pytest.mark.parametrize(("wish", "moves"), [("reduce", False), ("no-preference", True)])
def test_nothing_moves_if_reduced_motion_is_preferred(page, wish, moves):
    opened = page(prefers_reduced_motion=wish)
    durations = opened.value(
        "[...document.querySelectorAll('*')].map((each) => parseFloat(getComputedStyle(each).transitionDuration))"
    )
    assert any(durations) == moves
    assert (opened.value("getComputedStyle(document.documentElement).scrollBehavior") == "smooth") == moves


@pytest.mark.parametrize("scheme", [LIGHT, DARK], ids=["light", "dark"])
def test_paper_is_white_and_has_no_buttons(page, scheme):
    opened = page(type="print", **scheme)
    assert opened.value("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    for selector in (".toolbar", ".filters"):
        assert opened.value("getComputedStyle(document.querySelector(arguments[0])).display", selector) == "none"
    assert opened.pdf().startswith(b"%PDF")


def test_more_findings_are_printed_than_shown(page):
    opened = page("large")
    opened.run("dispatchEvent(new Event('beforeprint'));")
    assert (len(rows(opened, "findings")), len(rows(opened, "instances"))) == (500, 100)
    opened.run("dispatchEvent(new Event('afterprint'));")
    assert len(rows(opened, "findings")) == 25
