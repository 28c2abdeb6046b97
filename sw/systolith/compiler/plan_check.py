"""What a plan that the planner did not make must meet before a layer is lowered by it."""

from systolith.rtl.config import Config

from .mapping import check_size
from .plan import Geometry, Plan, round_up


def check_plan(config: Config, g: Geometry, plan: Plan) -> None:
    """Refuse block sizes that no layer of these sizes can have; what the memories hold shows as it is laid out.

    Raises
    ------
    MappingError
        If a size is out of range; the sentence names it.
    """
    tokens, granule = g.shape.tokens, g.granule
    block = min(tokens, config.statistics_rows // 2)
    x_v, h_v = g.outputs(g.shape.hidden)[2], g.outputs(g.shape.head_size)[2]
    ranges = [
        ("project_rows", plan.project_rows, 1, min(tokens, config.accumulator_rows // h_v)),
        ("query_rows", plan.query_rows, 1, block),
        ("block_rows", plan.block_rows, 1, min(block, config.accumulator_rows // (x_v + 2 * granule))),
        ("ffn_tiles", plan.ffn_tiles, granule, round_up(g.outputs(g.shape.ffn)[1], granule)),
        ("ring_rows", plan.ring_rows, config.rows, config.scratchpad_rows),
        ("chunk_rows", plan.chunk_rows, config.rows, plan.ring_rows // config.rows * config.rows),
        ("value_places", plan.value_places, 1, 2),
        ("key_rows", plan.key_rows, 0, round_up(tokens, g.key_granule)),
    ]
    steps = {"ffn_tiles": granule, "chunk_rows": config.rows, "key_rows": g.key_granule}
    if plan.by_keys:
        ranges.append(("held_blocks", plan.held_blocks, 1, tokens))
    for name, value, low, high in ranges:
        check_size(name, value, low, high, steps.get(name, 1))
