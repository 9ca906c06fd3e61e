"""Sample contexts for the researchers' pages, and all pages together."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal

from alignloop.labeling.app.charts import Series, bar_chart, chart_words, interval_chart, line_chart
from alignloop.labeling.app.i18n import catalogue
from alignloop.labeling.app.pages.common import (
    FLAGS,
    Estimate,
    Line,
    Locale,
    Message,
    Notice,
    Option,
    Page,
    Paging,
    View,
)
from alignloop.labeling.app.pages.gold import GoldPage, GoldTask, GoldTasksPage, GradePage
from alignloop.labeling.app.pages.quality import (
    AdjudicatedOutput,
    AdjudicatePage,
    AgreementPage,
    AnonymousRanking,
    AuditPage,
    AuditRow,
    ContestedPair,
    DisagreementRow,
    DisagreementsPage,
    EconomicsPage,
    EconomicsRow,
    ExportRow,
    ExportsPage,
    FlagAgreement,
    GapRow,
    InboxPage,
    ThreadRow,
)
from alignloop.labeling.app.pages.researcher import (
    Alert,
    CampaignFormPage,
    CampaignLabeler,
    CampaignPage,
    CampaignRow,
    CampaignsPage,
    CampaignValues,
    Chart,
    Figure,
    LabelerCampaign,
    LabelerEvent,
    LabelerPage,
    LabelerRow,
    LabelersPage,
    OverviewPage,
    Screening,
    SkippedTask,
)
from alignloop.labeling.app.pages.tasks import FlagChoice, Rating
from tests.browser.samples import ago, labeler_pages, messages_page, outputs, task, view

EUR = "EUR"
OPTIONS = (Option("p1", "API, November (3,196)"), Option("p2", "Labelers, plain (800)"))


def estimate(value: float, half: float = 0.02, n: int = 400) -> Estimate:
    return Estimate(value, value - half, value + half, n)


def charts(locale: Locale) -> dict[str, Chart]:
    words = chart_words(catalogue(locale))
    days = [(date(2026, 11, 27) - timedelta(days=29 - at)).strftime("%d.%m.") for at in range(30)]
    labels = [(day, 120 + 80 * math.sin(at / 4) + (at % 7 < 5) * 90) for at, day in enumerate(days)]
    trend = [0.70 + 0.03 * math.sin(at / 5) for at in range(30)]
    held: list[float | None] = [
        None if at < 12 else 0.75 + 0.02 * math.cos(at / 6) for at in range(30)
    ]
    people = [
        ("Mina", 0.741),
        ("Otto", 0.702),
        ("Li Wei", 0.765),
        ("Sara", 0.618),
        ("Ngozi", 0.729),
    ]
    ks = [4, 5, 6, 7, 8, 9]
    day, person = ("Day", "Labeler") if locale == "en" else ("日期", "标注员")
    both = ("Training", "Held-out") if locale == "en" else ("训练", "留出")
    return {
        "throughput": Chart(
            "Labels per day" if locale == "en" else "每日标注数",
            bar_chart("Labels per day", labels, words, label=day),
        ),
        "trend": Chart(
            "Agreement" if locale == "en" else "一致率",
            line_chart(
                "Agreement by day",
                days,
                [Series(both[0], trend), Series(both[1], held)],
                words,
                label=day,
                write="{:.0%}".format,
                from_zero=False,
            ),
        ),
        "people": Chart(
            "Agreement by labeler" if locale == "en" else "各标注员的一致率",
            interval_chart(
                "Agreement by labeler",
                [(name, estimate(value, 0.035)) for name, value in people],
                words,
                label=person,
                references=[("Paper" if locale == "en" else "论文", 0.726)],
            ),
            catalogue(locale).sentence("chart.intervals"),
        ),
        "rate": Chart(
            "Ordered pairs per paid hour" if locale == "en" else "每付费小时有序对数",
            line_chart(
                "Ordered pairs per paid hour",
                [str(k) for k in ks],
                [
                    Series("measured" if locale == "en" else "实测", [62, 84, 109, 131, 150, 166]),
                    Series(
                        "break-even" if locale == "en" else "盈亏平衡", [62, 62, 62, 62, 62, 62]
                    ),
                ],
                words,
                label="K",
            ),
        ),
    }


def campaign_rows(locale: Locale) -> tuple[CampaignRow, ...]:
    names = ("Rankings, November", "Demonstrations", "Blind comparison 7", "Screening 3")
    if locale == "zh":
        names = ("十一月排序", "示范回答", "盲测七", "筛选三")
    cost = (Decimal("8142.60"), EUR)
    return (
        CampaignRow(
            "c1",
            names[0],
            "rank",
            "open",
            1938,
            3178,
            1,
            (4, 9),
            estimate(0.731),
            cost,
            "training",
            "train",
        ),
        CampaignRow(
            "c2",
            names[1],
            "demo",
            "open",
            412,
            498,
            1,
            None,
            None,
            (Decimal("2472"), EUR),
            "training",
            "train",
        ),
        CampaignRow(
            "c3",
            names[2],
            "eval",
            "paused",
            41,
            200,
            3,
            None,
            estimate(0.768, 0.03),
            None,
            "evaluation",
            "heldout",
        ),
        CampaignRow(
            "c4",
            names[3],
            "rank",
            "closed",
            320,
            320,
            8,
            (4, 4),
            None,
            None,
            "screening",
            "pilot",
        ),
    )


def labeler_rows() -> tuple[LabelerRow, ...]:
    return (
        LabelerRow(
            "u1",
            "Mina Okafor",
            "mina@example.org",
            "labeler",
            "train",
            "active",
            Screening(0.84, 0.79, 6.3, ("Igbo", "disability")),
            812,
            201_600,
            estimate(0.741, 0.03),
            ago(minutes=4),
        ),
        LabelerRow(
            "u2",
            "Otto Brandt",
            "otto@example.org",
            "labeler",
            "train",
            "screening",
            Screening(0.71, 0.78, 5.6, ("politics in Germany",)),
            40,
            9_800,
            None,
            ago(hours=5),
        ),
        LabelerRow(
            "u3",
            "李伟",
            "liwei@example.org",
            "labeler",
            "heldout",
            "active",
            Screening(),
            260,
            64_800,
            estimate(0.765, 0.03),
            ago(days=1),
        ),
        LabelerRow(
            "u4",
            "Sara Lopez",
            "sara@example.org",
            "labeler",
            "train",
            "suspended",
            Screening(0.77, 0.74, 6.1),
            501,
            130_000,
            estimate(0.618, 0.04),
            ago(days=12),
        ),
        LabelerRow(
            "u5",
            "",
            "new@example.org",
            "labeler",
            "train",
            "invited",
            Screening(),
            0,
            0.0,
            None,
            None,
        ),
    )


def campaign_page(locale: Locale) -> CampaignPage:
    drawn = charts(locale)
    return CampaignPage(
        campaign_rows(locale)[0],
        "2026-11",
        {"open": 1180, "in_work": 14, "done": 1938, "skipped": 3, "dropped": 2},
        (drawn["throughput"], drawn["people"]),
        (
            CampaignLabeler(
                "u1", "Mina Okafor", 812, 9, 412.0, estimate(0.741, 0.03), 0.18, (38, 41)
            ),
            CampaignLabeler(
                "u4", "Sara Lopez", 501, 2, 121.0, estimate(0.618, 0.04), 0.02, (24, 39)
            ),
            CampaignLabeler("u2", "Otto Brandt", 4, 0, None, None, None, None),
        ),
        (
            SkippedTask(
                "t93",
                task(locale).prompt,
                (("unclear", ""), ("expertise", "tax law"), ("unclear", "")),
            ),
        ),
        surplus=3,
        policies=("sft-0012", "ppo-0003"),
    )


def labeler_page(locale: Locale) -> LabelerPage:
    drawn = charts(locale)
    return LabelerPage(
        labeler_rows()[1],
        (LabelerCampaign("c4", "Screening 3", 40, 1, 9_800, None),),
        (drawn["throughput"], drawn["trend"]),
        (
            LabelerEvent(ago(days=9), "Jonas Weiss", "invited", ""),
            LabelerEvent(ago(days=2), "Jonas Weiss", "practice passed", "two of eight by hand"),
        ),
        tie_share=0.12,
        contradictions=0.03,
        self_consistency=0.81,
        position_bias=-0.04,
        length_bias=0.21,
    )


def adjudicate_page(locale: Locale) -> AdjudicatePage:
    shown = outputs(locale, 4, is_placed=False)
    return AdjudicatePage(
        "t12",
        campaign_rows(locale)[0].title,
        task(locale).prompt,
        tuple(AdjudicatedOutput(one.item, one.letter, one.passage) for one in shown),
        (
            AnonymousRanking("r1", (1, 3, 2, 2)),
            AnonymousRanking("r2", (1, 3, 3, 2), "B and C both miss the point."),
            AnonymousRanking("r3", (2, 0, 1, 3)),
        ),
        (ContestedPair("A", "C", 2, 0, 1), ContestedPair("C", "D", 1, 1, 1)),
        errors={"choice": Message("required")},
    )


def gold_page(locale: Locale) -> GoldPage:
    shown = tuple(replace(one, rating=Rating()) for one in outputs(locale, 4, is_placed=False))
    flags = tuple(FlagChoice(flag) for flag in FLAGS)
    title = campaign_rows(locale)[0].title
    return GoldPage(
        "c1",
        title,
        "t12",
        task(locale).prompt,
        shown,
        flags,
        errors={"rank[i2]": Message("ranks"), "flag[i1]": Message("flags")},
    )


def economics_page(locale: Locale) -> EconomicsPage:
    bits = {4: 6.23, 5: 9.08, 6: 12.19, 7: 15.53, 8: 19.06, 9: 22.76}
    rows = tuple(
        EconomicsRow(
            k,
            130 - 8 * k,
            k * (k - 1) // 2,
            bits[k],
            Estimate(1.9 + 1.05 * k, 1.7 + 1.05 * k, 2.1 + 1.05 * k, 98),
            60 * 0.84 * k * (k - 1) / 2 / (1.9 + 1.05 * k),
            60 * bits[k] / (1.9 + 1.05 * k),
            (Decimal("0.62") - Decimal(k) / 20, EUR),
            estimate(0.75 - 0.006 * k, 0.03),
            0.10 + 0.01 * k,
        )
        for k in range(4, 10)
    )
    people = tuple(Option(row.id, row.name or row.email) for row in labeler_rows())
    estimated = tuple((k, 3600 * k * (k - 1) / 2 / (30 + 2 * k)) for k in range(4, 10))
    return EconomicsPage(
        rows, (charts(locale)["rate"],), people, time_ratio=1.86, estimate=estimated
    )


def agreement_page(locale: Locale) -> AgreementPage:
    words = catalogue(locale)
    flags = tuple(
        FlagAgreement(
            words.sentence(f"flag.{flag}"),
            0.30 / (1 + at),
            None if at == 6 else 0.7 - at / 40,
            None if at == 6 else 0.61 - at / 30,
            1938,
        )
        for at, flag in enumerate(FLAGS)
    )
    drawn = charts(locale)
    return AgreementPage(
        "30d",
        OPTIONS,
        "",
        estimate(0.731),
        estimate(0.768, 0.03),
        estimate(0.702),
        estimate(0.58, 0.04),
        None,
        (drawn["trend"], drawn["people"]),
        flags,
        tuple(GapRow(k, estimate(0.76 - 0.006 * k, 0.03)) for k in range(4, 10)),
        (*(GapRow(gap, estimate(0.6 + 0.05 * gap, 0.03)) for gap in range(1, 6)), GapRow(6, None)),
    )


def exports_page() -> ExportsPage:
    digest = "9f2c64a1b7e0" * 5 + "abcd"
    return ExportsPage(
        (
            ExportRow("e3", "rankings", "jsonl", "", ago(minutes=1), "Jonas Weiss", 0, "running"),
            ExportRow(
                "e2",
                "rankings",
                "jsonl",
                "Rankings, November",
                ago(days=1),
                "Jonas Weiss",
                1938,
                "ready",
                digest,
                (("rankings-train.jsonl.gz", 2_411_000), ("manifest.json", 2_100)),
            ),
            ExportRow(
                "e1",
                "pairs",
                "parquet",
                "Rankings, November",
                ago(days=2),
                "Jonas Weiss",
                0,
                "failed",
                problem="3 prompts are not cleared",
            ),
        ),
        OPTIONS,
        flagged=3,
    )


def audit_page() -> AuditPage:
    verbs = ("session.begin", "export.make", "cohort.change", "campaign.open", "guideline.publish")
    rows = tuple(
        AuditRow(
            9120 - at,
            ago(minutes=37 * at),
            "Jonas Weiss",
            verbs[at % 5],
            f"{verbs[at % 5].partition('.')[0]}:{at}a7",
            f"{at:02x}f31c9a77e2" * 5,
        )
        for at in range(12)
    )
    return AuditPage(
        rows,
        Paging(2, 761),
        tuple(Option(verb, verb) for verb in verbs),
        chain_ok=True,
        checked=9120,
    )


def inbox_page() -> InboxPage:
    threads = tuple(
        ThreadRow(
            row.id,
            row.name or row.email,
            Line(row.name or row.email, False, ago(hours=2 + at), "…"),
            2 * (at == 0),
        )
        for at, row in enumerate(labeler_rows())
    )
    lines = tuple(replace(line, mine=not line.mine) for line in messages_page().lines)
    return InboxPage(threads, "u1", "Mina Okafor", lines)


def researcher_pages(locale: Locale = "en") -> dict[str, tuple[Page, View]]:
    """The pages of researchers, by name, with the view around each."""

    def seen(path: str, **changes: object) -> View:
        return view(locale, "researcher", path=path, **changes)

    drawn = charts(locale)
    rows = campaign_rows(locale)
    form = CampaignFormPage(
        None,
        CampaignValues(policies=("m1",), guideline="2026-11", flag_set="table-3"),
        OPTIONS,
        (Option("m1", "sft-0012"), Option("m2", "ppo-0003")),
        (Option("2026-11", "2026-11"),),
        (Option("table-3", "Table 3"),),
    )
    figures = (
        Figure("labels_today", "186", "+12 %"),
        Figure("labels_week", "1,204", ""),
        Figure("queue", "1,180", ""),
        Figure("active_labelers", "9 / 14", ""),
        Figure("agreement", "73.1%", "72.6 ± 1.5 %"),
        Figure("hours", "212.5 h", ""),
        Figure("cost", "EUR 8,142.60", ""),
        Figure("cost_each", "EUR 4.20", ""),
    )
    alerts = (Alert("skipped_often", 3, "/campaigns/c1"), Alert("drift", 1, "/labelers/u4"))
    disagreements = tuple(
        DisagreementRow(
            f"t{12 + at}",
            rows[0].title,
            task(locale).prompt,
            3,
            4 + at,
            5 - at,
            6 + 4 * at,
            0.5 + 0.1 * at,
            False,
        )
        for at in range(3)
    )
    wrong = {
        "k_max": Message("k_range"),
        "title": Message("required"),
        "policies": Message("required"),
    }
    return {
        "overview": (
            OverviewPage(
                "30d",
                figures,
                (drawn["throughput"], drawn["trend"], drawn["people"]),
                rows[:3],
                alerts,
            ),
            seen("/overview"),
        ),
        "campaigns": (CampaignsPage(rows), seen("/campaigns", notice=Notice("campaign_saved"))),
        "campaigns-none": (CampaignsPage((), "draft"), seen("/campaigns?state=draft")),
        "campaign-new": (form, seen("/campaigns/new")),
        "campaign-edit": (
            replace(form, id="c1", is_frozen=True, errors=wrong),
            seen("/campaigns/c1/edit"),
        ),
        "campaign": (campaign_page(locale), seen("/campaigns/c1")),
        "labelers": (
            LabelersPage(labeler_rows(), invite_link="https://label.example.org/invite/4f9b"),
            seen("/labelers"),
        ),
        "labeler": (labeler_page(locale), seen("/labelers/u2")),
        "disagreements": (DisagreementsPage(disagreements, Paging(1, 4)), seen("/disagreements")),
        "adjudicate": (
            adjudicate_page(locale),
            view(locale, "researcher", path="/disagreements/t12"),
        ),
        "gold_tasks": (
            GoldTasksPage(
                "c1",
                campaign_rows(locale)[0].title,
                (GoldTask("t12", task(locale).prompt, 4), GoldTask("t13", task(locale).prompt, 6)),
                3,
                teaches=True,
            ),
            seen("/campaigns/c1/gold"),
        ),
        "gold": (gold_page(locale), seen("/campaigns/c1/gold/t12")),
        "grade": (
            GradePage(
                "s1",
                task(locale).prompt,
                outputs(locale, 4)[0].passage,
                7,
                errors={"score": Message("likert")},
            ),
            seen("/grades"),
        ),
        "economics": (economics_page(locale), seen("/economics")),
        "agreement": (agreement_page(locale), seen("/agreement")),
        "exports": (exports_page(), seen("/exports")),
        "audit": (audit_page(), seen("/audit")),
        "inbox": (inbox_page(), seen("/inbox/u1")),
    }


def all_pages(locale: Locale = "en") -> dict[str, tuple[Page, View]]:
    """Every page of the app."""
    return labeler_pages(locale) | researcher_pages(locale)
