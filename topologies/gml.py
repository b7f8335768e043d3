"""Topologies from GML files, with the attributes that GraphML files have (`attributes.py`)."""

from __future__ import annotations

import re
from pathlib import Path

from ..errors import TopologyError
from .attributes import drawing_of
from .drawing import Drawing
from .graphml import once


def read_gml(path: Path) -> Drawing:
    """Read a GML file; TopologyError says what is wrong with it.

    Parallel edges are read whether or not the file says `multigraph 1`, which files of the Topology Zoo leave out.
    """
    import networkx

    try:
        text = path.read_text(encoding="utf-8-sig")
        if not re.search(r"^\s*multigraph\s+1\s*$", text, re.M):
            text = re.sub(r"(^|\s)graph\s*\[", r"\1graph [\n  multigraph 1\n", text, count=1)
        graph = networkx.parse_gml(text, label="id")
    except UnicodeDecodeError as error:
        raise TopologyError(f"{path}: not UTF-8 text: {error}") from None
    except OSError as error:
        raise TopologyError(f"{path}: cannot be read: {error.strerror}") from None
    except Exception as error:  # networkx raises whatever a damaged file makes it stumble over
        raise TopologyError(f"{path}: not valid GML: {error}") from None
    return drawing_of(graph, path, once(list(graph.edges(data=True)), graph.is_directed()))
