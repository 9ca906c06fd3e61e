"""Every address of the app, in FastAPI's notation: templates write links with it, routes are declared from it.

All addresses that change something take POST, with the field `csrf_token`, and answer 303 to a page.
"""

from __future__ import annotations

import re
from urllib.parse import quote, urlencode

PATHS: dict[str, str] = {
    # everybody
    "home": "/",
    "sign_in": "/sign-in",
    "sign_out": "/sign-out",
    "invite": "/invite/{token}",
    "settings": "/settings",
    "guidelines": "/guidelines",
    "messages": "/messages",
    # labelers
    "claim": "/tasks/next",
    "task": "/tasks/{task}",
    "demonstrate": "/tasks/{task}/demonstrate",
    "rate": "/tasks/{task}/rate/{item}",
    "rank": "/tasks/{task}/rank",
    "compare": "/tasks/{task}/compare",
    "toxicity": "/tasks/{task}/toxicity/{item}",
    "draft": "/tasks/{task}/draft",
    "feedback": "/tasks/{task}/feedback",
    "write_prompt": "/prompts/new",
    "prompt_draft": "/prompts/draft",
    "work": "/my-work",
    "reopen": "/my-work/{submission}/reopen",
    # researchers
    "overview": "/overview",
    "campaigns": "/campaigns",
    "new_campaign": "/campaigns/new",
    "campaign": "/campaigns/{campaign}",
    "edit_campaign": "/campaigns/{campaign}/edit",
    "campaign_state": "/campaigns/{campaign}/state",
    "gold_tasks": "/campaigns/{campaign}/gold",
    "gold": "/campaigns/{campaign}/gold/{task}",
    "grade": "/grades",
    "labelers": "/labelers",
    "send_invite": "/labelers/invite",
    "labeler": "/labelers/{labeler}",
    "labeler_cohort": "/labelers/{labeler}/cohort",
    "labeler_decision": "/labelers/{labeler}/decision",
    "labeler_state": "/labelers/{labeler}/state",
    "disagreements": "/disagreements",
    "adjudicate": "/disagreements/{task}",
    "economics": "/economics",
    "agreement": "/agreement",
    "exports": "/exports",
    "export_file": "/exports/{export}/{file}",
    "audit": "/audit",
    "inbox": "/inbox",
    "thread": "/inbox/{labeler}",
    # files: `version` is the digest of all of them, so they may be cached for ever
    "static": "/static/{version}/{file:path}",
}

_PARAMETER = re.compile(r"\{(\w+)(:path)?\}")


def path_to(name: str, **values: object) -> str:
    """The address of a page; values that it has no place for become the query, None is left out.

    Raises:
        KeyError: no such page, or a value for its path is missing.
    """

    def fill(match: re.Match[str]) -> str:
        return quote(str(values.pop(match[1])), safe="/" if match[2] else "")

    path = _PARAMETER.sub(fill, PATHS[name])
    query = {key: value for key, value in values.items() if value is not None}
    return f"{path}?{urlencode(query)}" if query else path
