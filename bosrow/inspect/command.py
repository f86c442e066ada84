"""`bosrow inspect`: what a data set is like, on a terminal, as JSON, or as one page."""

import json

from bosrow.dataset.provenance import Provenance
from bosrow.files import replace_file
from bosrow.inspect.findings import as_json, examine
from bosrow.inspect.inspect_options import InspectOptions


def inspect(options: InspectOptions) -> None:
    """Show a data set as `options` say. Raises DataSetError where it is damaged, OptionError for an empty split."""
    if options.svg:
        from bosrow.inspect.row_picture import picture

        replace_file(options.svg, picture(Provenance(options.data_dir)).encode())
        print(f"{options.svg}: {options.svg.stat().st_size:,} bytes")
        return
    findings = examine(options)
    if options.json:
        print(json.dumps(as_json(findings)))
    elif options.html:
        from bosrow.inspect.page import data_set_page

        replace_file(options.html, data_set_page(findings).encode())
        print(f"{options.html}: {options.html.stat().st_size:,} bytes, one file; open it in a browser")
    else:
        from bosrow.inspect.terminal import show

        show(findings)
