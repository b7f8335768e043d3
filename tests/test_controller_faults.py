"""What other programs do to a switch, as tables of cases; and the book in which faults stand."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from mozart.controller.damage import damage
from mozart.controller.faults import KINDS, Fault, FaultBook
from mozart.controller.foreign import is_foreign, may_meet, obstacles
from mozart.controller.links import Flaps
from mozart.controller.reconcile import reconcile
from mozart.controller.rules import AGENT_COOKIE_PREFIX, COOKIE_SHIFT, Action, Group, Match, Rule, Tables, cookie_of

OURS, AGENTS, FOREIGN = cookie_of("forward"), AGENT_COOKIE_PREFIX << COOKIE_SHIFT | 5, 0x2A
MAC = "02:00:00:00:00:{:02x}"


def rule(destination: int, out: int = 1, cookie: int = OURS, priority: int = 1000) -> Rule:
    return Rule(101, priority, (("eth_dst", MAC.format(destination)),), (("output", out),), cookie)


def foreign(
    *match: tuple[str, object], priority: int = 2000, table: int = 101, actions: tuple[Action, ...] = ()
) -> Rule:
    given: Match = tuple(sorted(match))  # type: ignore[arg-type]
    return Rule(table, priority, given, actions, FOREIGN)


SHOULD = Tables(frozenset({rule(1), rule(2)}), frozenset({Group(0x6D7A0001, (1, 2))}))

IN_THE_WAY: dict[str, tuple[Rule, int]] = {
    "a higher priority, all packets": (foreign(), 2),
    "a higher priority, one destination": (foreign(("eth_dst", MAC.format(1))), 1),
    "a higher priority, a field that ours do not have": (foreign(("in_port", 3)), 2),
    "a higher priority, a mask that both fit": (foreign(("eth_dst", ("02:00:00:00:00:00", "ff:00:00:00:00:00"))), 2),
    "a higher priority, a mask that none fits": (foreign(("eth_dst", ("03:00:00:00:00:00", "ff:00:00:00:00:00"))), 0),
    "the place of ours": (foreign(("eth_dst", MAC.format(2)), priority=1000), 1),
    "the same priority, packets of both": (foreign(("eth_type", 0x800), priority=1000), 2),
    "a lower priority": (foreign(priority=999), 0),
    "another destination": (foreign(("eth_dst", MAC.format(3))), 0),
    "a table that is not ours": (foreign(table=50), 0),
    "an agent's": (Rule(101, 2000, (), (), AGENTS), 0),
    "ours": (Rule(101, 2000, (), (), OURS), 0),
}


@pytest.mark.parametrize("case", IN_THE_WAY)
def test_foreign_rules_in_the_way(case: str) -> None:
    there, hides = IN_THE_WAY[case]
    found = obstacles(SHOULD, [*SHOULD.rules, there])
    assert [each.hides for each in found] == [hides] * bool(hides)
    assert all((each.cookie, each.drops) == (FOREIGN, True) for each in found)


def test_an_obstacle_says_what_it_is_and_how_to_remove_it() -> None:
    (found,) = obstacles(SHOULD, [foreign(("in_port", 3)), foreign(("eth_type", 0x800), actions=(("output", 9),))])
    assert found.text("s2") == (
        "2 flow entries of another program (cookie 0x2a, table 101, priority 2000, eth_type=0x800) drop packets of "
        "2 entries of ours; left alone. To remove: ovs-ofctl -O OpenFlow13 del-flows s2 cookie=0x2a/-1,table=101"
    )
    assert is_foreign(foreign()) and not is_foreign(rule(1))


def test_addresses_and_masks_of_all_kinds_are_compared() -> None:
    pairs: list[tuple[object, object, bool]] = [
        ("192.0.2.1", "192.0.2.1", True), ("192.0.2.1", "192.0.2.2", False),
        (("192.0.2.0", "255.255.255.0"), "192.0.2.9", True), (("192.0.2.0", "255.255.255.0"), "198.51.100.1", False),
        ("2001:db8::1", ("2001:db8::", "ffff:ffff::"), True), ((8, 8), 12, True), ((8, 8), 4, False),
    ]  # fmt: skip
    for one, other, meet in pairs:
        assert may_meet(foreign(("field", one)), foreign(("field", other))) == meet, (one, other)


DAMAGE = {
    "nothing": ([rule(1), rule(2)], SHOULD.groups, ""),
    "one deleted": ([rule(2)], SHOULD.groups, "1 flow entry of ours deleted by another program"),
    "all deleted": ([], SHOULD.groups, "2 flow entries of ours deleted by another program"),
    "other actions": ([rule(1, 9), rule(2)], SHOULD.groups, "1 flow entry of ours changed by another program"),
    "one too many": (
        [rule(1), rule(2), rule(3)], SHOULD.groups, "1 flow entry of ours added by another program",
    ),
    "one replaced": (
        [rule(1), rule(2, 9, FOREIGN)], SHOULD.groups, "1 flow entry of ours deleted by another program",
    ),
    "a group gone": ([rule(1), rule(2)], (), "1 group of ours deleted or changed by another program"),
    "a foreign rule": ([rule(1), rule(2), foreign()], SHOULD.groups, ""),
}  # fmt: skip


@pytest.mark.parametrize("case", DAMAGE)
def test_damage(case: str) -> None:
    rules, groups, text = DAMAGE[case]
    changes = reconcile(SHOULD, rules, tuple(groups))
    found = damage(SHOULD, changes, rules, Counter())
    assert bool(found) == bool(text) and (not text or found.text() == text)
    assert not damage(None, changes, rules, Counter()), "of a switch that has just connected nobody knows"


def test_a_new_plan_is_no_damage() -> None:
    before = Tables(frozenset({rule(1), rule(3)}), frozenset())
    rules = [rule(1), rule(3)]
    assert not damage(before, reconcile(SHOULD, rules, ()), rules, Counter())


def test_each_flap_is_told_once_whichever_end_tells_it_first() -> None:
    flaps = Flaps([{"a": "s1", "b": "s2"}])
    seen = [
        ("s1", "s2", False), ("s2", "s1", False), ("s1", "s2", True), ("s2", "s1", True),
        ("s1", "s2", False), ("s1", "s2", True), ("s2", "s1", False), ("s2", "s1", True),
        ("s1", "s9", False),
    ]  # fmt: skip
    news = [flaps.see(*each) for each in seen]
    down, up = ("s1-s2", "down"), ("s1-s2", "up")
    assert news == [down, None, None, up, down, up, None, up, None]
    assert flaps.see("s2", "s1", False, judged=False) is None


def fault(text: str, time_ns: int = 5) -> Fault:
    return Fault(time_ns, "link-down", "s1-s2", text)


def test_a_lasting_fault_is_written_down_once_and_ends() -> None:
    book = FaultBook()
    key = ("link", "s1-s2")
    assert book.stand(key, fault("down")) and not book.stand(key, fault("down", 6))
    assert book.lasting("link") == [key] and book.lasting("switch") == []
    ended = book.end(key, 9, "up again")
    assert ended is not None and ended.text == "down; up again" and ended.repaired
    assert book.end(key, 10) is None and book.faults == [ended]
    assert ended.to_dict() == {
        "time_ns": 5, "kind": "link-down", "device": "s1-s2", "text": "down; up again", "until_ns": 9,
        "packets_lost": None, "repaired": True,
    }  # fmt: skip
    assert Fault.from_dict(ended.to_dict()) == ended


def test_a_book_is_taken_over_by_another_one_change_by_change() -> None:
    told, run = FaultBook(), FaultBook()
    numbers: dict[tuple[int, int], int] = {}
    run.add(fault("of the run itself"))
    told.stand(("a",), fault("a"))
    assert [each.text for each in run.take(numbers, 1, told.last(9))] == ["a"]
    told.end(("a",), 7)
    told.add(fault("b"))
    assert [(each.text, each.repaired) for each in run.take(numbers, 1, told.last(9))] == [("a", True), ("b", False)]
    assert run.take(numbers, 1, told.last(9)) == []
    again = FaultBook()  # of a controller that was started again
    again.add(fault("c"))
    assert [each.text for each in run.take(numbers, 2, again.last(9))] == ["c"]
    assert [each.text for each in run.faults] == ["of the run itself", "a", "b", "c"]


def test_the_documentation_has_all_kinds() -> None:
    text = (Path(__file__).parent.parent / "docs" / "live.md").read_text()
    assert all(f"| `{kind}` | {meaning} |" in text for kind, meaning in KINDS.items())


def test_a_full_book_counts_on() -> None:
    book = FaultBook(most=1)
    book.add(fault("first"))
    book.stand(("x",), fault("second"))
    assert book.end(("x",), 9) is None and (len(book.faults), book.more, book.seen) == (1, 1, 2)
    with pytest.raises(ValueError, match="no kind of fault"):
        book.add(Fault(1, "rain", "s1", "it rains"))
