"""The chat page of `serve --page`: people talk to served policies, and may agree that what they say is kept.

conversation.py   what is said, in memory alone
answering.py      answers drawn from the service that the API asks too
keeping.py        the store, where there is one: agreement, messages, choices, erasure
notice.py         what people are told before they agree, and its version
access.py         one request, checked: whose it is, its form, its limits
routes.py         what each address does; streaming.py the answers as they are written
looks.py          the page as HTML; templates/, static/, locale/
app.py            all of it as one app
"""
