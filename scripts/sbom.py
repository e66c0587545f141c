"""Makes a software bill of materials comparable: ``python scripts/sbom.py FILE`` takes out of a CycloneDX file who made
it when, and where packages were fetched from (their digests are in the lock file).
"""

import json
import sys
from pathlib import Path

_CHANGING = ("serialNumber", "metadata")


def main() -> None:
    path = Path(sys.argv[1])
    bill = json.loads(path.read_text(encoding="utf-8"))
    for name in _CHANGING:
        bill.pop(name, None)
    for component in bill.get("components", []):
        component.pop("externalReferences", None)
        component.pop("description", None)
    path.write_text(json.dumps(bill, indent=1, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
