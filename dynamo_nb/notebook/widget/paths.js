// The graph as a graph: the paths through a service, and the neighbour to which an arrow key leads.

/** The names of all direct and indirect callers of a service, and of all its callees. Both contain the service. */
export function pathsThrough(name, edges) {
  const reach = (from, to) => {
    const found = new Set([name]);
    for (const reached of found) {
      for (const edge of edges) if (edge.active && edge[from] === reached) found.add(edge[to]);
    }
    return found;
  };
  return { callers: reach("target", "source"), callees: reach("source", "target") };
}

/** True if the edge is on one of the paths that `pathsThrough` returned. */
export function isOnPath(edge, { callers, callees }) {
  return edge.active && ((callers.has(edge.source) && callers.has(edge.target)) ||
                         (callees.has(edge.source) && callees.has(edge.target)));
}

/**
 * The service to which an arrow key leads, or undefined. Right leads to a callee, left to a caller, up and down to a
 * service with the same caller or callee. Without such a service, the nearest one in that direction.
 */
export function neighbour(node, key, nodes, edges) {
  const linked = (own, other, name) => edges.filter((e) => e[own] === name).map((e) => nodes.get(e[other]));
  const nearest = (found, distance) => found.filter(Boolean).sort((a, b) => distance(a) - distance(b))[0];
  const vertical = (other) => Math.abs(other.y - node.y);
  const horizontal = (other) => Math.abs(other.x - node.x);
  const others = [...nodes.values()].filter((other) => other !== node);
  if (key === "ArrowRight" || key === "ArrowLeft") {
    const sign = key === "ArrowRight" ? 1 : -1;
    const direct = sign === 1 ? linked("source", "target", node.name) : linked("target", "source", node.name);
    return nearest(direct, vertical) ??
      nearest(others.filter((other) => (other.x - node.x) * sign > node.width / 2),
              (other) => horizontal(other) + 2 * vertical(other));
  }
  const sign = key === "ArrowDown" ? 1 : -1;
  const isBeyond = (other) => other !== node && (other.y - node.y) * sign > 0;
  const siblings = [
    ...linked("target", "source", node.name).flatMap((caller) => linked("source", "target", caller.name)),
    ...linked("source", "target", node.name).flatMap((callee) => linked("target", "source", callee.name)),
  ];
  return nearest(siblings.filter(isBeyond), vertical) ??
    nearest(others.filter(isBeyond), (other) => vertical(other) + 2 * horizontal(other));
}
