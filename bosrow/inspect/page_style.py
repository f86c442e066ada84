"""The style sheet of the page that `bosrow inspect --html` writes. Colours are variables, light first, then dark."""

from bosrow.inspect.row_picture import HUES, strip_style

_LIGHT = (
    "--paper:#f5f6f8;--card:#fff;--ink:#1c2530;--soft:#5b6876;--line:#dfe3e9;--own:#3b74d6;--stream:#d9822b;"
    "--kept:#3a9a78;--lost:#d9566b;--lost2:#eda3ad;--tail:#b9a24a;--added:#d84315;--warm:#fdf3e3"
)
_DARK = (
    "--paper:#0e1217;--card:#161c24;--ink:#e6ebf1;--soft:#98a4b3;--line:#2b3541;--own:#6f9ff0;--stream:#f0a757;"
    "--kept:#52b893;--lost:#e8707f;--lost2:#8f4a55;--tail:#c7b25e;--added:#ff8a65;--warm:#2c2418"
)
_EDGES = "".join(f".d{n}-edge{{border-left-color:hsl({hue} 60% 55%)}}" for n, hue in enumerate(HUES))

_RULES = """
*{box-sizing:border-box}
html{color-scheme:light dark;-webkit-text-size-adjust:100%}
body{margin:0;background:var(--paper);color:var(--ink);font:15px/1.5 ui-sans-serif,system-ui,-apple-system,"Segoe UI",
Helvetica,Arial,sans-serif}
header,main,footer{max-width:1240px;margin:0 auto;padding:0 18px}
body>header{padding-top:28px}
h1{font-size:26px;line-height:1.2;margin:0;overflow-wrap:anywhere}
h2{font-size:18px;margin:0 0 14px}
body>header p{margin:6px 0 18px;color:var(--soft)}
section,.card{background:var(--card);border:1px solid var(--line);border-radius:12px}
section{padding:18px;margin:18px 0}
.cards{display:grid;gap:12px;grid-template-columns:repeat(auto-fit,minmax(150px,1fr))}
.card{padding:12px 16px;display:flex;flex-direction:column}
.card span,.card small{color:var(--soft);font-size:13px}
.card strong{font-size:26px;line-height:1.25;font-weight:650}
.note{background:var(--warm);border:1px solid var(--line);border-radius:12px;padding:10px 16px;margin:18px 0 0}
svg{display:block}
.hidden{position:absolute;width:0;height:0}
.bar{width:100%;height:20px;border-radius:6px}
.legend{list-style:none;display:flex;flex-wrap:wrap;gap:4px 18px;margin:10px 0 0;padding:0;font-size:13px;
color:var(--soft)}
.legend li{display:flex;align-items:center;gap:7px}
.legend svg{width:12px;height:12px;flex:none}
.wide{overflow-x:auto;margin-top:16px}
table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:14px}
td,th{text-align:right;padding:3px 0 3px 18px;font-weight:400;white-space:nowrap}
th:first-child,td:first-child{text-align:left;padding-left:0;white-space:normal}
thead th,td:last-child{color:var(--soft)}
tr.whole th,tr.whole td{font-weight:600;padding-top:9px}
tr.part th{padding-left:14px}
.pair{display:grid;gap:18px 28px;grid-template-columns:repeat(auto-fit,minmax(min(100%,420px),1fr))}
.plots{display:grid;gap:26px 28px;grid-template-columns:repeat(auto-fit,minmax(min(100%,320px),1fr))}
figure{margin:0;min-width:0}
figcaption{font-weight:600;font-size:14px;margin-bottom:8px}
.pair figcaption{font-weight:400;color:var(--soft);font-size:13px}
.plot figcaption{margin-bottom:0}
.plot p{margin:0;font-size:13px;color:var(--soft)}
.plot .chart{margin-top:8px}
.strips,.chart{width:100%;height:auto}
.chart{max-width:520px}.strips{max-width:760px}
.chart text{font-size:10.5px;fill:var(--soft)}
.chart .label{font-style:italic}
.chart .value{fill:var(--ink)}
.grid{stroke:var(--line);fill:none}
.axis{stroke:var(--soft);fill:none}
.mark{stroke:var(--ink);stroke-dasharray:3 3;fill:none}
.gap{stroke:var(--card);stroke-width:4;fill:none}
.own{fill:var(--own)}.kept{fill:var(--kept)}.lost{fill:var(--lost)}.lost2{fill:var(--lost2)}.tail{fill:var(--tail)}
.stream{fill:var(--stream)}
.line{fill:none;stroke-width:2;stroke-linejoin:round}
.line.own{stroke:var(--own);fill:none}.line.stream{stroke:var(--stream);fill:none}
details.row{border-top:1px solid var(--line);padding:12px 0}
details.row:first-of-type{border-top:0;padding-top:0}
summary{cursor:pointer}
summary small{color:var(--soft);margin-left:6px}
.strip{width:100%;height:14px;margin-top:8px;border-radius:3px}
.piece{border-left:4px solid var(--line);padding:2px 0 2px 12px;margin:14px 0 0;min-width:0}
.piece header{padding:0;margin:0;max-width:none;font-size:13px;color:var(--soft);display:flex;flex-wrap:wrap;
gap:0 12px}
.piece header b{color:var(--ink)}
.source,.text{overflow-wrap:anywhere}
.text{margin:4px 0 0;white-space:pre-wrap;font-size:14px;unicode-bidi:isolate;overflow:hidden}
.tag{display:inline-block;border-radius:4px;padding:0 6px;margin-right:6px;font-size:11px;line-height:17px;
font-weight:600;color:var(--card);background:var(--ink)}
.added-tag{background:var(--added)}
.cut-tag{background:none;color:var(--lost);border:1px solid var(--lost)}
.text{max-width:100ch}
@media (max-width:540px){section{padding:14px}header,main,footer{padding:0 10px}td,th{padding-left:10px;font-size:13px}
tr.part th{padding-left:8px}}
footer{color:var(--soft);font-size:13px;padding-bottom:30px}
footer code{overflow-wrap:anywhere}
"""

STYLE = (
    f":root{{{_LIGHT}}}{strip_style(dark=False)}{_RULES}{_EDGES}"
    f"@media (prefers-color-scheme:dark){{:root{{{_DARK}}}{strip_style(dark=True)}}}"
)
