// The graph as a graph: what lies before and behind a service, and where an arrow key leads.

/** Names of what calls the service, directly or not, of what it calls, and the service itself. */
function pathOf(name, edges) {
  const reach = (from, to) => {
    const found = new Set([name]);
    for (const at of found) {
      for (const edge of edges) if (edge.active && edge[from] === at) found.add(edge[to]);
    }
    return found;
  };
  return { before: reach("target", "source"), behind: reach("source", "target") };
}

/** Whether the edge is on a path through the service that `pathOf` was asked for. */
function onPath(edge, { before, behind }) {
  return edge.active && ((before.has(edge.source) && before.has(edge.target)) ||
                         (behind.has(edge.source) && behind.has(edge.target)));
}

/**
 * The service that an arrow key leads to, or undefined: right to a callee, left to a caller, up and down to what shares
 * one; else to whatever stands there.
 */
function step(node, key, nodes, edges) {
  const ends = (mine, other, name) => edges.filter((e) => e[mine] === name).map((e) => nodes.get(e[other]));
  const near = (found, cost) => found.filter(Boolean).sort((a, b) => cost(a) - cost(b))[0];
  const flat = (other) => Math.abs(other.y - node.y);
  const all = [...nodes.values()].filter((other) => other !== node);
  if (key === "ArrowRight" || key === "ArrowLeft") {
    const way = key === "ArrowRight" ? 1 : -1;
    const linked = way === 1 ? ends("source", "target", node.name) : ends("target", "source", node.name);
    return near(linked, flat) ??
      near(all.filter((o) => (o.x - node.x) * way > node.width / 2), (o) => Math.abs(o.x - node.x) + 2 * flat(o));
  }
  const way = key === "ArrowDown" ? 1 : -1;
  const there = (other) => other !== node && (other.y - node.y) * way > 0;
  const siblings = [
    ...ends("target", "source", node.name).flatMap((caller) => ends("source", "target", caller.name)),
    ...ends("source", "target", node.name).flatMap((callee) => ends("target", "source", callee.name)),
  ];
  return near(siblings.filter(there), flat) ??
    near(all.filter(there), (other) => flat(other) + 2 * Math.abs(other.x - node.x));
}
