"""People at work, as their browsers ask: take a task, read it, save a draft, rank, submit, and go on with the next."""

from __future__ import annotations

import asyncio
import random
import re
import time
from dataclasses import dataclass, field

import httpx

from benchmarks.labeling.lab import Lab, Person

_HIDDEN = re.compile(r'name="(csrf_token|rev|client_uuid)" value="([^"]*)"')
_TASK = re.compile(r"^/tasks/([^/]+)(/rank)?$")


@dataclass(slots=True)
class Log:
    """What everybody met."""

    acknowledged: dict[str, tuple[int, ...]] = field(default_factory=dict[str, tuple[int, ...]])
    """Assignment -> the ranks, by place on the page, that the server said it has."""
    uncertain: set[str] = field(default_factory=set[str])
    """Assignments whose submission was sent and never answered."""
    submit_seconds: list[float] = field(default_factory=list[float])
    other_seconds: list[float] = field(default_factory=list[float])
    server_errors: list[str] = field(default_factory=list[str])
    surprises: list[str] = field(default_factory=list[str])
    slowed: int = 0
    """Submissions that came after more than 120 of one person within a minute, and were tried again."""
    dropped: int = 0
    """Requests whose connection was lost."""


def work(
    lab: Lab, url: str, *, seconds: float, thought: float, seed: int = 1, patient: bool = False
) -> Log:
    """Everybody works for so many seconds.

    Args:
        thought: seconds between seeing a task and submitting it, on average.
        patient: whether lost connections are expected, and tried again until somebody answers.
    """
    return asyncio.run(_everybody(lab, url, seconds, thought, seed, patient))


async def _everybody(
    lab: Lab, url: str, seconds: float, thought: float, seed: int, patient: bool
) -> Log:
    log = Log()
    until = time.monotonic() + seconds
    people = [
        _person(lab, one, url, log, until, thought, random.Random(f"{seed}/{number}"), patient)
        for number, one in enumerate(lab.people)
    ]
    await asyncio.gather(*people)
    return log


async def _person(
    lab: Lab,
    person: Person,
    url: str,
    log: Log,
    until: float,
    thought: float,
    draw: random.Random,
    patient: bool,
) -> None:
    # A connection of their own, as browsers have: a pool for all hands its connections out unevenly, and a request
    # that waits for one would be taken for a server that is slow. It is given up before the server would close it.
    limits = httpx.Limits(max_connections=1, keepalive_expiry=3)
    async with httpx.AsyncClient(
        base_url=url, headers={"Origin": url}, limits=limits, timeout=30, verify=False
    ) as client:
        asking = _Asking(client, person, log, patient, until + 30)
        await _work(lab, asking, log, until, thought, draw)


async def _work(
    lab: Lab, asking: _Asking, log: Log, until: float, thought: float, draw: random.Random
) -> None:
    await asyncio.sleep(draw.random() * thought)
    home = await asking.get("/")
    token = dict(_HIDDEN.findall(home.text)).get("csrf_token", "")
    answer = await asking.post("/tasks/next", {"csrf_token": token, "campaign": lab.campaign})
    while time.monotonic() < until:
        place = answer.headers.get("location", "")
        if not _TASK.match(place):
            if place != "/":
                log.surprises.append(f"{answer.status_code} to {place!r}")
            return  # no work left
        page = await asking.follow(place)
        task = _TASK.match(page.request.url.path)
        hidden = dict(_HIDDEN.findall(page.text))
        if task is None or page.status_code != 200 or "client_uuid" not in hidden:
            log.surprises.append(f"{page.status_code} at {page.request.url.path}")
            return
        ranks = tuple(draw.choice([(1, 2, 3, 4), (2, 1, 1, 3), (1, 1, 1, 1), (4, 3, 2, 1)]))
        form = {**hidden, "screen": "rank", "active_ms": "900", "idle_ms": "0"}
        form |= {f"rank[{at}]": str(rank) for at, rank in enumerate(ranks, start=1)}
        if thought:
            await asyncio.sleep(draw.uniform(0.5, 1.5) * thought)
            saved = await asking.post(f"/tasks/{task[1]}/draft", form)
            if saved.status_code == 200:
                form["rev"] = str(saved.json()["rev"])
        answer = await asking.submit(task[1], {**form, "action": "submit"}, ranks)


class _Asking:
    """One person's requests."""

    def __init__(
        self, client: httpx.AsyncClient, person: Person, log: Log, patient: bool, until: float
    ) -> None:
        self._client = client
        self._headers = {"Cookie": f"alignloop_session={person.session}"}
        self._log = log
        self._patient = patient
        self._until = until

    async def get(self, path: str) -> httpx.Response:
        return await self._ask("GET", path, None, self._log.other_seconds)

    async def post(self, path: str, form: dict[str, str]) -> httpx.Response:
        return await self._ask("POST", path, form, self._log.other_seconds)

    async def follow(self, path: str) -> httpx.Response:
        answer = await self.get(path)
        while answer.is_redirect:
            answer = await self.get(answer.headers["location"])
        return answer

    async def submit(
        self, task: str, form: dict[str, str], ranks: tuple[int, ...]
    ) -> httpx.Response:
        self._log.uncertain.add(task)
        seconds = self._log.submit_seconds
        answer = await self._ask("POST", f"/tasks/{task}/rank", form, seconds)
        while answer.status_code == 429:  # quicker than any person may be: come back later
            self._log.slowed += 1
            await asyncio.sleep(int(answer.headers["Retry-After"]))
            answer = await self._ask("POST", f"/tasks/{task}/rank", form, seconds)
        if answer.status_code == 303:
            self._log.uncertain.discard(task)
            self._log.acknowledged[task] = ranks
        else:
            self._log.surprises.append(f"{answer.status_code} to a submission")
        return answer

    async def _ask(
        self, method: str, path: str, form: dict[str, str] | None, seconds: list[float]
    ) -> httpx.Response:
        while True:
            began = time.perf_counter()
            try:
                answer = await self._client.request(method, path, data=form, headers=self._headers)
            except httpx.TransportError:
                self._log.dropped += 1
                if not self._patient or time.monotonic() > self._until:
                    raise
                await asyncio.sleep(0.1)
                continue
            seconds.append(time.perf_counter() - began)
            if answer.status_code >= 500:
                self._log.server_errors.append(f"{answer.status_code} {method} {path}")
            return answer
