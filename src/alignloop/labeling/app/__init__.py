"""The labeling web app's face: what each page shows and sends back, its templates, words and pictures.

pages/       one dataclass per page: what the server hands over, and which fields its forms send back
paths.py     every address
render.py    page + view -> HTML
i18n.py      the catalogue of words, locale/en.json and locale/zh.json
charts.py    bar, line and interval charts as accessible inline SVG
templates/   Jinja2; static/ one style sheet, small scripts, htmx
"""
