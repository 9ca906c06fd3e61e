"""A campaign's form: from fields to settings, or to what is wrong with them; and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from typing import Any, cast

from sqlalchemy import Connection

from alignloop.labeling.app.access import Ask
from alignloop.labeling.app.pages.common import Errors, Message, Option
from alignloop.labeling.app.pages.researcher import CampaignFormPage, CampaignValues
from alignloop.labeling.app.routes.home import KINDS
from alignloop.labeling.app.shown import COHORTS, kind_of, words_of
from alignloop.labeling.drawing import Plan
from alignloop.store import campaigns, flag_sets, supply
from alignloop.store.campaigns import Campaign, Form, Purpose
from alignloop.web.i18n import Catalogue

LONGEST_TITLE = 200
MOST_LABELS = 20
"""Labels per task."""
LONGEST_LEASE = 7 * 24 * 60
NO_FLAGS = "none"
"""The choice of a ranking without grades and flags."""
_SIZES = (50, 100, 200, 500, 1000, 2000, 5000, 10_000)
_FORMS: Mapping[str, Form] = {kind: cast(Form, form) for form, kind in KINDS.items()}
_COHORTS = {face: name for name, face in COHORTS.items()}
_PURPOSES = ("training", "evaluation", "practice", "screening")


@dataclass(frozen=True, slots=True)
class Settings:
    """What a form asks for, checked."""

    columns: Mapping[str, Any]
    """Of the campaign's row: everything but id, state and times."""
    plan: Plan


# --- the form ---------------------------------------------------------------------------------------------------


def form_page(
    ask: Ask,
    connection: Connection,
    values: CampaignValues,
    *,
    campaign: Campaign | None = None,
    errors: Errors | None = None,
) -> CampaignFormPage:
    """The form, with what there is to choose from."""
    words = words_of(ask)
    sets = prompt_sets(connection, words)
    if values.prompt_set and values.prompt_set not in {one.value for one in sets}:
        sets = (Option(values.prompt_set, values.prompt_set.replace(":", " · ")), *sets)
    return CampaignFormPage(
        id=None if campaign is None else campaign.public_id,
        values=values,
        prompt_sets=sets,
        policies=tuple(
            Option(row.public_id, " · ".join(filter(None, (row.name, row.sha256[:8]))))
            for row in supply.all_policies(connection)
        ),
        guidelines=tuple(
            Option(f"{purpose}/{version}", f"{words.sentence(f'purpose.{purpose}')} {version}")
            for purpose, version in supply.guideline_versions(connection)
        ),
        flag_sets=(
            *(Option(row.name, row.name) for row in supply.all_flag_sets(connection)),
            Option(NO_FLAGS, "–"),
        ),
        is_frozen=campaign is not None and is_fixed(connection, campaign),
        fixed=frozenset() if campaign is None else fixed_numbers(connection, campaign),
        errors=errors or dict[str, Message](),
    )


def prompt_sets(connection: Connection, words: Catalogue) -> tuple[Option, ...]:
    """Sides of the split in round numbers, `train:200` or `train:all`; and prompts to be written, `new:50`."""
    found: list[Option] = []
    there = supply.prompts_by_split(connection)
    for split in ("train", "valid", "test"):
        if not (total := there.get(split, 0)):
            continue
        name = words.sentence(f"split.{split}")
        found.append(Option(f"{split}:all", f"{name} · {total:,}"))
        found += [
            Option(f"{split}:{size}", f"{name} · {size:,} / {total:,}")
            for size in _SIZES
            if size < total
        ]
    to_write = words.sentence("kind.prompt")
    return (*found, *(Option(f"new:{size}", f"{to_write} · {size:,}") for size in _SIZES[:4]))


def first_values(connection: Connection) -> CampaignValues:
    """What the form of a new campaign holds."""
    versions = supply.guideline_versions(connection)
    latest = next((version for purpose, version in versions if purpose == "training"), None)
    there = supply.prompts_by_split(connection)
    return CampaignValues(
        prompt_set="train:all" if there.get("train") else "",
        repeat_percent="0",
        guideline="" if latest is None else f"training/{latest}",
        flag_set=flag_sets.TABLE_3,
    )


def sent_values(ask: Ask, unsent: CampaignValues | None = None) -> CampaignValues:
    """What was sent, as it was sent; in place of a field that was not, what `unsent` has."""
    unsent = unsent or CampaignValues()
    given = {
        name: ask.field(name, getattr(unsent, name)).strip()[:1000]
        for name in CampaignValues.__slots__
        if name != "policies"
    }
    return CampaignValues(**given, policies=tuple(ask.fields().get("policies", ()))[:50])


def values_of(connection: Connection, campaign: Campaign) -> CampaignValues:
    """What a campaign's form holds. Which models an evaluation compares is told before it opens and after it closed."""
    kept = supply.plan_of(connection, campaign)
    plan = None if kept is None else Plan.from_json(kept)
    is_blind = campaign.is_blind and campaign.state != "draft"
    policies: tuple[str, ...] = ()
    if plan is not None and not is_blind:
        known = {row.id: row.public_id for row in supply.all_policies(connection)}
        policies = tuple(known[one] for one in plan.policy_ids if one in known)
    names = {row.id: row.name for row in supply.all_flag_sets(connection)}
    pay = campaign.price_per_hour
    return CampaignValues(
        title=campaign.name,
        kind=kind_of(campaign),
        purpose=campaign.purpose,
        cohort=COHORTS[campaign.cohort],
        prompt_set="" if plan is None else _prompt_set(campaign, plan),
        policies=policies,
        k_min=str(campaign.k_min) if campaign.form in ("rank", "toxicity") else "4",
        k_max=str(campaign.k_max) if campaign.form in ("rank", "toxicity") else "9",
        overlap=str(campaign.overlap),
        shared_percent="0" if plan is None else f"{plan.shared_percent:g}",
        gold_percent="0" if campaign.gold_every is None else f"{100 / campaign.gold_every:.3g}",
        repeat_percent="0" if plan is None else f"{plan.repeat_percent:g}",
        lease_minutes=f"{campaign.lease_ms / 60_000:g}",
        pay="" if pay is None else f"{Decimal(pay) / 100:.2f}",
        currency=campaign.currency,
        guideline=f"{campaign.guideline_purpose}/{campaign.guideline_version}",
        flag_set=names.get(campaign.flag_set_id or 0, NO_FLAGS),
        planned="" if campaign.planned is None else str(campaign.planned),
    )


def is_fixed(connection: Connection, campaign: Campaign) -> bool:
    """Whether what is asked and of whom stays as it is: it was opened, or has tasks already."""
    return campaign.state != "draft" or campaigns.count_tasks(connection, campaign) > 0


def fixed_numbers(connection: Connection, campaign: Campaign) -> frozenset[str]:
    """Numbers that stay as well: which tasks several do was drawn, and of how many votes a verdict is made was told."""
    if not is_fixed(connection, campaign):
        return frozenset()
    is_counted = campaign.purpose == "evaluation" and campaign.frozen_at is not None
    return frozenset({"shared_percent", *(["overlap"] if is_counted else [])})


def with_what_is_fixed(sent: CampaignValues, there: CampaignValues) -> CampaignValues:
    """What was sent for an opened campaign: what is asked and of whom stays as it is."""
    return replace(
        there,
        title=sent.title,
        pay=sent.pay,
        currency=sent.currency or there.currency,
        lease_minutes=sent.lease_minutes,
        overlap=sent.overlap,
        shared_percent=sent.shared_percent,
        gold_percent=sent.gold_percent,
        repeat_percent=sent.repeat_percent,
    )


# --- checking ---------------------------------------------------------------------------------------------------


def check(
    connection: Connection, values: CampaignValues, campaign: Campaign | None = None
) -> tuple[Settings | None, dict[str, Message]]:
    """The settings that a form asks for, or what is wrong with it, by field."""
    errors = _check_title(connection, values, campaign)
    form, purpose = _form_and_purpose(values, errors)
    cohort = _cohort(values, purpose, errors)
    numbers = _numbers(values, errors)
    k = _k(values, form, errors)
    plan = _plan(connection, values, form, purpose, numbers, errors)
    pay = _pay(values, errors)
    guideline = _guideline(connection, values, purpose, errors)
    asks_ratings, flag_set = _flags(connection, values, form, errors)
    planned = None
    if purpose == "evaluation":
        planned = _whole(values.planned, 1, 1_000_000)
        if planned is None:
            errors["planned"] = Message("number")
    if errors or plan is None:
        return None, errors
    columns = {
        "name": values.title,
        "form": form,
        "purpose": purpose,
        "cohort": cohort,
        "k_min": k[0],
        "k_max": k[1],
        "overlap": round(numbers["overlap"]),
        "lease_ms": round(numbers["lease_minutes"] * 60_000),
        "gold_every": _gold_every(numbers["gold_percent"]),
        "asks_ratings": asks_ratings,
        "flag_set_id": flag_set,
        "guideline_version": guideline,
        "price_per_hour": pay,
        "currency": values.currency or "EUR",
        "planned": planned,
    }
    return Settings(columns, plan), errors


def check_what_may_change(
    connection: Connection, values: CampaignValues, campaign: Campaign
) -> tuple[dict[str, Any], float, dict[str, Message]]:
    """Columns that may change once a campaign has tasks, the share of repeats, and what is wrong with them."""
    errors = _check_title(connection, values, campaign)
    pay = _pay(values, errors)
    numbers = _numbers(values, errors)
    there = values_of(connection, campaign)
    if numbers.get("overlap", campaign.overlap) != campaign.overlap and campaign.frozen_at:
        # How many votes there are was fixed before the first of them.
        errors["overlap"] = Message("frozen")
    if numbers.get("shared_percent") not in (None, float(there.shared_percent)):
        errors["shared_percent"] = Message("frozen")
    if errors:
        return {}, 0.0, errors
    gold_every = _gold_every(numbers["gold_percent"])
    columns = {
        "name": values.title,
        "price_per_hour": pay,
        "currency": values.currency,
        "lease_ms": round(numbers["lease_minutes"] * 60_000),
        "overlap": round(numbers["overlap"]),
        "gold_every": campaign.gold_every
        if values.gold_percent == there.gold_percent
        else gold_every,
    }
    return columns, numbers["repeat_percent"], errors


# --- inside -----------------------------------------------------------------------------------------------------


def _gold_every(percent: float) -> int | None:
    """Once in so many tasks; None: never."""
    return max(round(100 / percent), 2) if percent else None


def _prompt_set(campaign: Campaign, plan: Plan) -> str:
    if campaign.form == "write":
        return f"new:{plan.count}"
    return f"{plan.split}:{plan.count or 'all'}"


def _check_title(
    connection: Connection, values: CampaignValues, campaign: Campaign | None
) -> dict[str, Message]:
    if not values.title:
        return {"title": Message("required")}
    if len(values.title) > LONGEST_TITLE:
        return {"title": Message("too_long", {"limit": LONGEST_TITLE})}
    taken = any(
        one.name == values.title and (campaign is None or one.id != campaign.id)
        for one in campaigns.all_campaigns(connection)
    )
    return {"title": Message("taken")} if taken else {}


def _form_and_purpose(values: CampaignValues, errors: dict[str, Message]) -> tuple[Form, Purpose]:
    kind, purpose = values.kind, values.purpose
    if kind not in _FORMS:
        errors["kind"] = Message("required")
    if purpose not in _PURPOSES:
        errors["purpose"] = Message("required")
    form = _FORMS.get(kind, "rank")
    if form in ("compare", "toxicity") and purpose == "training":
        errors["purpose"] = Message("contradicts")  # votes train nothing
    return form, cast(Purpose, purpose)


def _cohort(values: CampaignValues, purpose: str, errors: dict[str, Message]) -> str:
    cohort = _COHORTS.get(values.cohort)
    if cohort is None or (purpose == "training" and cohort != "training"):
        errors["cohort"] = Message("contradicts")
    return cohort or "training"


def _numbers(values: CampaignValues, errors: dict[str, Message]) -> dict[str, float]:
    found: dict[str, float] = {}
    for name, low, high in (
        ("overlap", 1, MOST_LABELS),
        ("shared_percent", 0, 100),
        ("gold_percent", 0, 50),
        ("repeat_percent", 0, 50),
        ("lease_minutes", 1, LONGEST_LEASE),
    ):
        number = _number(getattr(values, name), low, high)
        if number is None or (name == "overlap" and number != round(number)):
            errors[name] = Message("number")
        else:
            found[name] = number
    return found


def _k(values: CampaignValues, form: str, errors: dict[str, Message]) -> tuple[int, int]:
    if form not in ("rank", "toxicity"):
        return (2, 2) if form == "compare" else (1, 1)
    low, high = _whole(values.k_min, 4, 9), _whole(values.k_max, 4, 9)
    if low is None or high is None or low > high:
        errors["k_min" if low is None else "k_max"] = Message("k_range")
        return 4, 9
    return low, high


def _plan(
    connection: Connection,
    values: CampaignValues,
    form: str,
    purpose: str,
    numbers: Mapping[str, float],
    errors: dict[str, Message],
) -> Plan | None:
    split, _, size = values.prompt_set.partition(":")
    count = None if size == "all" else _whole(size, 1, 1_000_000)
    if form == "write":
        is_right = count is not None and split in ("new", "train")
    else:
        is_right = split in ("train", "valid", "test") and (count is not None or size == "all")
        # Evaluation is on prompts that nobody trains on, and all else on other prompts.
        is_right = is_right and (split == "test") == (purpose == "evaluation")
    if not is_right:
        errors["prompt_set"] = Message("contradicts" if split else "required")
    policies = {row.public_id: row.id for row in supply.all_policies(connection)}
    chosen = tuple(policies[one] for one in dict.fromkeys(values.policies) if one in policies)
    if form == "compare" and len(chosen) != 2:
        errors["policies"] = Message("two_policies")
    elif form in ("rank", "toxicity") and not chosen:
        errors["policies"] = Message("required")
    if errors:
        return None
    return Plan(
        "train" if form == "write" else split,
        count,
        chosen if form in ("rank", "compare", "toxicity") else (),
        numbers["shared_percent"],
        numbers["repeat_percent"],
    )


def _pay(values: CampaignValues, errors: dict[str, Message]) -> int | None:
    """Hundredths per hour."""
    if values.currency and not (
        len(values.currency) == 3 and values.currency.isascii() and values.currency.isupper()
    ):
        errors["currency"] = Message("currency")
    if not values.pay:
        return None
    try:
        amount = Decimal(values.pay.replace(",", "."))
    except InvalidOperation:
        amount = Decimal(-1)
    if not amount.is_finite() or not 0 <= amount <= 100_000:
        errors["pay"] = Message("number")
        return None
    return int((amount * 100).to_integral_value())


def _guideline(
    connection: Connection, values: CampaignValues, purpose: str, errors: dict[str, Message]
) -> int:
    """The version; which text it is of, the purpose says."""
    of = "evaluation" if purpose == "evaluation" else "training"
    versions = [version for name, version in supply.guideline_versions(connection) if name == of]
    if not versions:
        return 1
    name, _, version = values.guideline.partition("/")
    chosen = _whole(version, 1, 1_000_000)
    if not values.guideline or name != of:
        return max(versions)  # the form has one list for both
    if chosen not in versions:
        errors["guideline"] = Message("required")
        return 1
    return chosen or 1


def _flags(
    connection: Connection, values: CampaignValues, form: str, errors: dict[str, Message]
) -> tuple[bool, int | None]:
    if form != "rank" or values.flag_set == NO_FLAGS:
        return False, None
    if values.flag_set in ("", flag_sets.TABLE_3):
        return True, None  # the store makes it where it is not there
    for row in supply.all_flag_sets(connection):
        if row.name == values.flag_set:
            return True, row.id
    errors["flag_set"] = Message("required")
    return False, None


def _number(text: str, low: float, high: float) -> float | None:
    try:
        value = float(text.replace(",", "."))
    except ValueError:
        return None
    return value if low <= value <= high else None


def _whole(text: str, low: int, high: int) -> int | None:
    is_number = text.isascii() and text.isdigit() and len(text) <= 9
    return int(text) if is_number and low <= int(text) <= high else None
