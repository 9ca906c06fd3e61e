"""A walk through the whole lab in which everybody says the same wherever they can, and every page that shows it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, urlencode

from httpx import Response

from alignloop.data.records import Completion
from alignloop.labeling.app.paths import PATHS, path_to
from alignloop.store import campaigns, correspondence, people, prompts, queue
from alignloop.store.campaigns import Campaign
from alignloop.store.gold import Gold, write_answers
from alignloop.store.people import User
from tests.labeling.client import Client, anonymous
from tests.labeling.hostile import in_parts
from tests.labeling.world import World, fields_of, form_of, world
from tests.store.conftest import Lab as Bench


@dataclass
class Tour:
    """A lab in which everybody says the same thing wherever they can, and every page that shows it."""

    lab: World
    lines: Sequence[str]
    pages: dict[str, str] = field(default_factory=dict)

    @property
    def said(self) -> str:
        """Everything at once, a line each."""
        return "\n".join(self.lines)

    def parts(self, longest: int) -> list[str]:
        """The same in several texts, where only short ones are taken."""
        return in_parts(self.lines, longest)

    def keep(self, name: str, answer: Response, status: int = 200) -> Response:
        assert answer.status_code == status, (name, answer.status_code)
        self.pages[name] = answer.text
        return answer

    # --- labelers -----------------------------------------------------------------------------------------------

    def of_labelers(self) -> None:
        lab, said = self.lab, self.said
        ann, bob = lab.site.sign_in(lab.ann), lab.site.sign_in(lab.bob)
        for client in (ann, bob):
            client.post("messages", {"body": said})
        self.keep("message that is too long", ann.post("messages", {"body": said * 4}), 422)
        rank = self._rank(ann, bob)
        self._drafts(ann)
        self._prompts(ann)
        self._practice(ann)
        self._skips()
        for name in ("home", "work", "messages", "guidelines"):
            self.keep(f"labeler: {name}", ann.get(name))
        self.keep("guidelines for evaluation", ann.get("guidelines", purpose="evaluation"))
        self._reflected(ann, "labeler")
        ann.post("settings", {"theme": said, "locale": said, "blur": said})
        made_up = json.dumps(
            {"key": "invited", "kind": "good", "values": {"link": self.said[:900]}}
        )
        ann.http.cookies.set(lab.site.lab.cookie("notice"), urlencode({"n": made_up}))
        self.keep("a notice that somebody made up", ann.get("work"))
        del rank

    def _rank(self, *clients: Client) -> str:
        """Two labelers rank one task, each with notes; the next one stays a draft."""
        with self.lab.store.write() as connection:
            task = self.lab.tasks["rank"]
            connection.exec_driver_sql(
                "insert into slots (task_id, slot_no, campaign_id, place, state) "
                f"select task_id, 2, campaign_id, place, 'open' from slots where task_id = {task.task_id}"
            )
            campaign = self.lab.campaigns["rank"]
            now = self.lab.site.clock.now
            queue.assign_to(connection, now, self.lab.bob, campaign, task.task_id)
        for at, client in enumerate(clients):
            assert client.user is not None
            with self.lab.store.read() as connection:
                held = queue.open_assignment(connection, client.user, campaign)
            assert held is not None
            self._one_ranking(client, held.public_id, "1234" if at else "4321", keep=not at)
        return task.public_id

    def _one_ranking(self, client: Client, task: str, ranks: str, *, keep: bool) -> None:
        for item in "1234":
            hidden = form_of(client, "rate", task=task, item=item)
            sent = {f"likert[{item}]": "4", f"none_apply[{item}]": "1", f"notes[{item}]": self.said}
            wrong = client.post("rate", {**hidden, **sent, f"flag[{item}]": self.said, "action": "next"},
                                task=task, item=item)  # fmt: skip
            hidden = fields_of(wrong.text, path_to("rate", task=task, item=item))
            client.post("rate", {**hidden, **sent, "action": "next"}, task=task, item=item)
            if keep:
                self.keep(f"rate {item}, wrong", wrong, 422)
                self.keep(f"rate {item}", client.get("rate", task=task, item=item))
        if keep:
            self.keep("rank", client.get("rank", task=task))
        hidden = form_of(client, "rank", task=task)
        given = {f"rank[{at}]": rank for at, rank in enumerate(ranks, start=1)}
        wrong = client.post(
            "rank", {**hidden, **given, "rank[1]": self.said, "action": "submit"}, task=task
        )
        hidden = fields_of(wrong.text, path_to("rank", task=task))
        assert (
            client.post("rank", {**hidden, **given, "action": "submit"}, task=task).status_code
            == 303
        )
        if keep:
            self.keep("rank, wrong", wrong, 422)

    def _drafts(self, ann: Client) -> None:
        """A draft of each form, its page, and the page of two versions."""
        of_form = {
            "demonstrate": {"response": self.said},
            "compare": {"notes": self.said, "verdict": self.said, "self_identified": self.said},
            "toxicity": {"notes[1]": self.said, "toxicity[1]": self.said},
        }
        for form, fields in of_form.items():
            values = {"task": self.lab.tasks[form].public_id}
            values |= {"item": "1"} if form == "toxicity" else {}
            sent = {**form_of(ann, form, **values), **fields, "skip_note": self.said}
            ann.post(form, {**sent, "action": "save"}, **values)
            self.keep(f"{form}, a draft", ann.get(form, **values))
            for action in ("skip",) if form == "demonstrate" else ("skip", "submit"):
                again = {**sent, **form_of(ann, form, **values), "skip_reason": self.said}
                answer = ann.post(form, {**again, "action": action}, **values)
                self.keep(f"{form}, {action}", answer, 422)
            stale = {**sent, "client_uuid": self.said, "action": self.said}
            self.keep(f"{form}, two versions", ann.post(form, stale, **values), 409)
        self._dialogue(ann)

    def _dialogue(self, ann: Client) -> None:
        campaign = self._extra("demonstrate", dialogue=True)
        task = self._claimed(ann, campaign)
        for action in ("continue", "save"):
            hidden = form_of(ann, "demonstrate", task=task)
            sent = {"response": self.said, "user_turn": self.said, "action": action}
            assert ann.post("demonstrate", {**hidden, **sent}, task=task).status_code == 303
        self.keep("dialogue", ann.get("demonstrate", task=task))

    def _prompts(self, ann: Client) -> None:
        action = path_to("write_prompt", kind="few_shot")
        pairs = {f"{name}[{at}]": self.said for name in ("query", "response") for at in (1, 2)}
        base = {"kind": "few_shot", "text": self.said, "pairs": "2", **pairs, "use_case": self.said}
        sent = {**base, "lang": self.said, "scenario": self.said, "action": "submit"}
        hidden = fields_of(ann.get("write_prompt", kind="few_shot").text, action)
        wrong = self.keep("prompt, wrong", ann.post("write_prompt", {**sent, **hidden}), 422)
        stale = {**sent, "rev": "0", "client_uuid": self.said}
        self.keep("prompt, two versions", ann.post("write_prompt", stale), 409)
        self.keep("prompt", ann.get("write_prompt", kind="few_shot"))
        self.keep("prompt of no kind", ann.get("write_prompt", kind=self.said))
        told = {
            "text": f"{self.said}\nWrite to a'b&c@example.org",
            "use_case": "other",
            "lang": "en",
        }
        hidden = fields_of(wrong.text, action)
        found = ann.post("write_prompt", {**sent, **told, **hidden, "consent": "1"})
        assert "example.org</mark>" in self.keep("prompt, findings", found, 422).text

    def _practice(self, ann: Client) -> None:
        campaign = self._extra("rank", purpose="practice", k=(4, 4))
        task = self._claimed(ann, campaign)
        self._one_ranking(ann, task, "1234", keep=False)
        self.keep("feedback", ann.get("feedback", task=task))

    def _skips(self) -> None:
        """A task that three people pass on, and why."""
        campaign = self._extra("demonstrate")
        notes = self.parts(480)
        with self.lab.store.write() as connection:
            connection.exec_driver_sql(
                "insert into slots (task_id, slot_no, campaign_id, place, state) "
                "select task_id, slot_no + n, campaign_id, place, 'open' from slots, "
                f"(select 1 n union select 2 union select 3 union select 4 union select 5 union select 6) "
                f"where campaign_id = {campaign.id}"
            )
        for note in notes[:3]:
            client = self.lab.site.sign_in(self._labeler())
            task = self._claimed(client, campaign)
            hidden = form_of(client, "demonstrate", task=task)
            skip = {**hidden, "skip_reason": "unclear", "skip_note": note, "action": "skip"}
            assert client.post("demonstrate", skip, task=task).status_code == 303
        self.skipped = campaign

    # --- researchers --------------------------------------------------------------------------------------------

    def of_researchers(self) -> None:
        lab, said = self.lab, self.said
        boss = lab.site.sign_in(lab.boss)
        new = self._labeler(standing="pending")
        for labeler in (lab.ann, new):
            boss.post("thread", {"body": said}, labeler=labeler.public_id)
        self.keep(
            "thread, wrong", boss.post("thread", {"body": said * 4}, labeler=lab.ann.public_id), 422
        )
        for note in self.parts(900):
            for name, sent in (
                ("labeler_state", {"state": "suspended"}),
                ("labeler_state", {"state": "active"}),
                ("labeler_decision", {"decision": "accept"}),
            ):
                answer = boss.post(name, {**sent, "note": note}, labeler=new.public_id)
                assert answer.status_code == 303
        self.keep("labeler, events", boss.get("labeler", labeler=new.public_id))
        wrong = {"email": said[:250], "role": said, "cohort": said, "locale": said}
        self.keep("invitation, wrong", boss.post("send_invite", wrong), 422)
        self._campaign_form(boss)
        self._decision(boss)
        self._exports(boss)
        values = {"campaign": lab.campaigns["rank"].public_id, "labeler": lab.ann.public_id}
        for name in (
            *(
                "overview",
                "campaigns",
                "campaign",
                "edit_campaign",
                "labelers",
                "labeler",
                "economics",
            ),
            *("agreement", "disagreements", "exports", "audit", "inbox", "thread", "new_campaign"),
        ):
            needed = {key: value for key, value in values.items() if f"{{{key}}}" in PATHS[name]}
            self.keep(f"researcher: {name}", boss.get(name, **needed))
        self.keep("skipped often", boss.get("campaign", campaign=self.skipped.public_id))
        self.keep("decided", boss.get("disagreements", decided="1"))
        for name in ("audit", "economics", "agreement", "labelers", "campaigns", "overview"):
            asked = dict.fromkeys(
                ("verb", "actor", "read_s", "item_s", "state", "period", "page"), said
            )
            self.keep(f"{name}, asked oddly", boss.get(name, **asked))
        self._reflected(boss, "researcher")

    def _campaign_form(self, boss: Client) -> None:
        names = (
            "title kind purpose cohort prompt_set policies k_min k_max overlap shared_percent gold_percent "
            "repeat_percent lease_minutes pay currency guideline flag_set planned"
        )
        wrong = dict.fromkeys(names.split(), self.said)
        self.keep("new campaign, wrong", boss.post("new_campaign", wrong), 422)
        campaign = self.lab.campaigns["rank"].public_id
        self.keep("campaign, wrong", boss.post("edit_campaign", wrong, campaign=campaign), 422)

    def _decision(self, boss: Client) -> None:
        with self.lab.store.read() as connection:
            task = connection.exec_driver_sql(
                f"select public_id from tasks where id = {self.lab.tasks['rank'].task_id}"
            ).scalar_one()
        sent = {"choice": "ambiguous", "note": self.said, "accepted": self.said}
        wrong = boss.post("adjudicate", {**sent, "reason": self.said}, task=task)
        self.keep("decision, wrong", wrong, 422)
        assert boss.post("adjudicate", {**sent, "reason": "slip"}, task=task).status_code == 303
        self.keep("decision", boss.get("adjudicate", task=task))

    def _exports(self, boss: Client) -> None:
        for form in ("rank", "demonstrate"):  # one succeeds, one has nothing to export
            kind = "rankings" if form == "rank" else "demonstrations"
            sent = {"kind": kind, "format": "jsonl", "split": "all", "seed": "1"}
            campaign = self.lab.campaigns[form].public_id
            assert boss.post("exports", {**sent, "campaign": campaign}).status_code == 303
            self.lab.site.lab.memory.exports.wait()
        wrong = {"kind": self.said, "format": self.said, "split": self.said, "seed": self.said}
        self.keep("export, wrong", boss.post("exports", wrong), 422)

    # --- everybody ----------------------------------------------------------------------------------------------

    def of_visitors(self) -> None:
        visitor = anonymous(self.lab.site.lab)
        self.keep("sign in", visitor.get("sign_in", next=self.said))
        visitor.csrf_token = visitor.http.cookies[self.lab.site.lab.cookie("form")]
        sent = {"email": self.said[:250], "password": self.said, "next": self.said}
        self.keep("sign in, wrong", visitor.post("sign_in", sent), 422)
        with self.lab.store.write() as connection:
            guest = people.add_user(
                connection, 0, "test", email=f"{self.said}@example.org", name=self.said, role="labeler",
                cohort="training",
            )  # fmt: skip
            token = people.invite(connection, self.lab.site.clock.now, "test", guest)
        self.keep("invitation", visitor.get("invite", token=token))
        sent = {"name": self.parts(95)[0], "password": self.said, "locale": self.said}
        self.keep("invitation, wrong", visitor.post("invite", sent, token=token), 422)
        self._reflected(visitor, "visitor")

    def _reflected(self, client: Client, who: str) -> None:
        """Addresses that hold it come back on the page: the menu returns to them."""
        short = self.parts(300)
        for at, part in enumerate(short):
            answer = client.http.get(f"/sign-in/{quote(part, safe='')}?x={quote(part)}")
            self.keep(f"{who}: no such page {at}", answer, 404)
        lines = [one for one in self.lines if (one + " ").isprintable() and one.isascii()]
        raw = "/no-such-page?" + " ".join(one for one in lines if "#" not in one)
        self.keep(f"{who}: as it was typed", client.http.get(raw), 404)

    # --- short ways ---------------------------------------------------------------------------------------------

    def _labeler(self, **changes: str) -> User:
        made = self.lab.site.labeler(**changes)
        with self.lab.store.write() as connection:
            for purpose in ("training", "evaluation"):
                for version in correspondence.guideline_ids(connection, purpose=purpose, version=1):
                    correspondence.acknowledge(connection, 0, made, version)
            return people.change_user(
                connection, 0, "test", made, name=self.said, topics=[self.said]
            )

    def _extra(self, form: str, **given: object) -> Campaign:
        """One more campaign, with a task whose answers a model of that name wrote."""
        bench = Bench(self.lab.store)
        size = 4 if form == "rank" else 0
        with self.lab.store.write() as connection:
            made = campaigns.add_campaign(
                connection, 0, "test", name=f"extra {form} {given} {self.said}", form=form,
                guideline_version=1, **given,  # type: ignore[arg-type]
            )  # fmt: skip
            policy = prompts.add_policy(connection, 0, name=self.said, sha256="a", sampling={})
            prompt = bench.prompt(connection, author=made.public_id, said=f"{made.name}")
            texts = [
                Completion(text=f"{self.said}{at}", model="m", finished=True, tokens=1)
                for at in range(size)
            ]
            ids = prompts.add_completions(connection, prompt, policy, texts) if size else []
            task = campaigns.add_task(connection, made, prompt_id=prompt, completion_ids=ids)
            if made.purpose == "practice":
                write_answers(
                    connection, task, Gold({(1, 2): 1, (2, 3): -1}, {(1, "sexual"): True})
                )
            return campaigns.set_state(connection, 0, "test", made, "open")

    def _claimed(self, client: Client, campaign: Campaign) -> str:
        answer = client.post("claim", {"campaign": campaign.public_id})
        assert answer.status_code == 303 and "/tasks/" in answer.headers["location"]
        return answer.headers["location"].split("/")[2]


def tour_of(folder: Path, lines: Sequence[str]) -> Iterator[Tour]:
    said = "\n".join(lines)
    with world(folder, text=lambda place: f"{place}: {said}") as lab:
        with lab.store.write() as connection:
            for user in (lab.ann, lab.bob, lab.boss):
                people.change_user(connection, 0, "test", user, name=said)
            people.change_user(connection, 0, "test", lab.ann, topics=[said, said])
            body = said + "".join(f"\n## {line}\n*Formatted.* {line}" for line in said.split("\n"))
            for purpose in ("training", "evaluation"):
                correspondence.add_guideline(
                    connection, 0, "test", purpose=purpose, version=2, locale="en", body=body
                )
        tour = Tour(lab, lines)
        tour.of_labelers()
        tour.of_researchers()
        tour.of_visitors()
        yield tour
