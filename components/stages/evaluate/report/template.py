"""The HTML of a page. A text of Python, not a file beside it: stage ``code`` counts it as code of the stage."""

STYLE = """\
:root { color-scheme: light dark; --paper: #ffffff; --back: #f3f4f6; --ink: #1b1f24; --soft: #59636e; --line: #d8dee4;
  --accent: #0b63ce; --good: #1a7f37; --bad: #cf222e; --bar: #9ec5f4; --heat: 11, 99, 206; }
@media (prefers-color-scheme: dark) { :root { --paper: #171b21; --back: #0e1116; --ink: #e4e9ef; --soft: #97a1ad;
  --line: #323a44; --accent: #6cb0ff; --good: #56d364; --bad: #ff7b72; --bar: #2f5f9e; --heat: 108, 176, 255; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--ink); font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto,
  "Noto Sans", "Noto Sans CJK SC", "PingFang SC", "Microsoft YaHei", sans-serif; }
header, main { max-width: 1120px; margin: 0 auto; padding: 0 20px; }
header { padding-top: 28px; }
h1 { margin: 0; font-size: 28px; line-height: 1.2; overflow-wrap: anywhere; }
h2 { margin: 0 0 14px; font-size: 19px; }
.subtitle { margin: 6px 0 18px; color: var(--soft); overflow-wrap: anywhere; }
nav { display: flex; flex-wrap: wrap; gap: 4px 16px; margin: 0 0 18px; font-size: 14px; }
a { color: var(--accent); text-decoration: none; }
a:hover { text-decoration: underline; }
section { background: var(--paper); border: 1px solid var(--line); border-radius: 10px; padding: 20px; margin-bottom: 18px; }
section > * + * { margin-top: 18px; }
.highlights { display: grid; grid-template-columns: repeat(auto-fit, minmax(165px, 1fr)); gap: 12px; margin-bottom: 18px; }
.highlight { background: var(--paper); border: 1px solid var(--line); border-radius: 10px; padding: 12px 16px; }
.highlight b { display: block; font-size: 24px; line-height: 1.25; font-variant-numeric: tabular-nums; }
.highlight span { color: var(--soft); font-size: 13px; overflow-wrap: anywhere; }
dl { display: grid; grid-template-columns: minmax(110px, max-content) 1fr; gap: 5px 18px; margin: 0; }
dt { color: var(--soft); }
dd { margin: 0; overflow-wrap: anywhere; min-width: 0; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: 14px; font-variant-numeric: tabular-nums; }
caption, figcaption, .caption { caption-side: top; text-align: left; color: var(--soft); font-size: 14px; padding-bottom: 8px; }
th, td { padding: 4px 14px 4px 0; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
th { color: var(--soft); font-weight: 600; }
td { max-width: 420px; overflow-wrap: break-word; }
.short { white-space: nowrap; } .number { text-align: right; white-space: nowrap; }
figure { margin: 0; max-width: 100%; }
figure svg { display: block; width: 100%; height: auto; }
figure img { max-width: 100%; height: auto; border-radius: 4px; }
.pixelated { image-rendering: pixelated; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(320px, 100%), 1fr)); gap: 20px; }
.gallery { display: grid; grid-template-columns: repeat(auto-fill, minmax(148px, 1fr)); gap: 14px; }
.card { border: 1px solid var(--line); border-radius: 8px; padding: 8px; font-size: 13px; min-width: 0; }
.card .pictures { display: flex; gap: 4px; }
.card img { flex: 1; min-width: 0; width: 100%; aspect-ratio: 1; object-fit: contain; image-rendering: pixelated;
  border-radius: 4px; background: var(--back); }
.card b { display: block; margin-top: 6px; font-weight: 600; overflow-wrap: anywhere; line-height: 1.3; }
.card p { margin: 2px 0 0; overflow-wrap: anywhere; line-height: 1.35; }
.bar { display: flex; justify-content: space-between; gap: 6px; margin-top: 3px; padding: 0 4px; border-radius: 3px;
  background: linear-gradient(var(--bar), var(--bar)) no-repeat 0 0 / var(--share) 100%; }
.bar span { overflow-wrap: anywhere; min-width: 0; }
.bar.true span::after { content: " \\2713"; color: var(--good); font-weight: 700; }
p { margin: 0; } p + p { margin-top: 8px; }
ul { margin: 0; padding-left: 20px; }
footer { color: var(--soft); font-size: 13px; padding: 0 0 28px; }
svg text { fill: var(--ink); font-size: 12px; }
svg .soft { fill: var(--soft); } svg .grid { stroke: var(--line); stroke-width: 1; }
svg polyline { fill: none; stroke-width: 2; }
svg .train { stroke: var(--soft); } svg .validation { stroke: var(--accent); } svg .cell { fill: rgb(var(--heat)); }
svg .strong { fill: var(--paper); } svg .frame { fill: none; stroke: var(--line); }
@media (max-width: 600px) { header, main { padding: 0 10px; } header { padding-top: 16px; } section { padding: 14px; }
  .gallery { grid-template-columns: repeat(auto-fill, minmax(126px, 1fr)); gap: 8px; } h1 { font-size: 23px; }
  dl { grid-template-columns: 1fr; gap: 0; } dd + dt { margin-top: 8px; } }
@media print { body { background: none; } section { break-inside: avoid; } nav { display: none; } }
"""

# Marks in the page at which ``render.with_sections`` adds to it. No text can hold one: ``<`` is escaped everywhere.
LINKS, SECTIONS = "<!-- further links -->", "<!-- further sections -->"

BLOCKS = """\
{% macro block(it) %}
{% if it.kind == "facts" %}<dl>{% for name, value in it.rows %}<dt>{{ name }}</dt><dd>{{ value | cell }}</dd>{% endfor %}</dl>
{% elif it.kind == "table" %}<div class="wide"><table>{% if it.caption %}<caption>{{ it.caption }}</caption>{% endif %}
<thead><tr>{% for name in it.columns -%}
<th{% if name in it.numeric %} class="number"{% endif %}>{{ name }}</th>{% endfor %}</tr></thead>
<tbody>{% for row in it.rows %}<tr>{% for name in it.columns -%}
{% set text = row[name] | cell -%}
<td class="{{ "number" if name in it.numeric else "short" if text | length <= 28 }}">{{ text }}</td>{% endfor %}</tr>
{% endfor %}</tbody></table>
{% if it.left_out %}<p class="caption">{{ it.left_out | cell }} more rows are not shown.</p>{% endif %}</div>
{% elif it.kind == "figure" %}<figure>{% if it.caption %}<figcaption>{{ it.caption }}</figcaption>{% endif %}
{% if it.svg %}<div class="wide">{{ it.svg }}</div>
{% else %}<img src="{{ it.uri }}" alt="{{ it.caption }}"{% if it.pixelated %} class="pixelated"{% endif %}>{% endif %}</figure>
{% elif it.kind == "gallery" %}<div>{% if it.caption %}<p class="caption">{{ it.caption }}</p>{% endif %}<div class="gallery">
{% for card in it.cards %}<div class="card"><div class="pictures">
{%- for uri in card.uris %}<img src="{{ uri }}" alt="{{ card.name }}">{% endfor %}</div><b>{{ card.name }}</b>
{%- for line in card.lines %}<p>{{ line }}</p>{% endfor %}
{%- for words, share, own in card.bars %}
<div class="bar{% if own %} true{% endif %}" style="--share: {{ "%.1f" | format(100 * share) }}%">
<span>{{ words }}</span>{{ "%.3f" | format(share) }}</div>{% endfor %}</div>
{% endfor %}</div></div>
{% elif it.listed %}<ul>{% for paragraph in it.paragraphs %}<li>{{ paragraph }}</li>{% endfor %}</ul>
{% else %}<div>{% for paragraph in it.paragraphs %}<p>{{ paragraph }}</p>{% endfor %}</div>
{% endif %}
{% endmacro %}
{% macro link(section) %}<a href="#{{ section.anchor }}">{{ section.title }}</a>
{% endmacro %}
{% macro whole(section) %}<section id="{{ section.anchor }}"><h2>{{ section.title }}</h2>
{% set charts = section.blocks | selectattr("kind", "equalto", "figure") | selectattr("svg") | list %}
{% if charts | length == section.blocks | length and charts | length > 1 %}<div class="charts">
{% for it in section.blocks %}{{ block(it) }}{% endfor %}</div>
{% else %}{% for it in section.blocks %}{{ block(it) }}{% endfor %}{% endif %}</section>
{% endmacro %}
"""

PAGE = (
    BLOCKS
    + """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<title>{{ page.title }}</title><style>{{ style }}</style></head>
<body><header><h1>{{ page.title }}</h1><p class="subtitle">{{ page.subtitle }}</p>
<nav>{% for section in page.sections if section.blocks %}{{ link(section) }}{% endfor %}{{ marks[0] }}</nav>
{% if page.highlights %}<div class="highlights">{% for name, value, small in page.highlights -%}
<div class="highlight"><span>{{ name }}</span><b>{{ value }}</b><span>{{ small }}</span></div>{% endfor %}</div>
{% endif %}</header>
<main>{% for section in page.sections if section.blocks %}{{ whole(section) }}{% endfor %}{{ marks[1] }}
<footer>Made by Darkroom.</footer></main></body></html>
"""
)

LINKS_ONLY = BLOCKS + "{% for section in sections if section.blocks %}{{ link(section) }}{% endfor %}"
SECTIONS_ONLY = BLOCKS + "{% for section in sections if section.blocks %}{{ whole(section) }}{% endfor %}"
