"""What the studies are said to show, each claim as one query, so that a store itself says whether it holds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Claim:
    """A sentence, and a query of one row: the column `holds`, then the figures that decide it."""

    study: str
    """Folder of the store."""
    text: str
    sql: str


_USER = """
WITH study AS (
    SELECT m.model_key, m.parent_key, m.op, m.kind, m.depth, (m.params ->> '$.sparsity')::DOUBLE AS s, board.accuracy,
           root.params ->> '$.model.name' AS net
    FROM models m JOIN scoreboard board USING (model_key) JOIN models root ON root.model_key = m.root_key
    WHERE list_contains(m.recipes, 'user_study')
), base AS (
    FROM study WHERE depth = 0
), pruned AS (
    FROM study WHERE depth = 1 AND kind = 'prune' AND net = 'resnet50'
), repaired AS (
    SELECT pruned.op, pruned.s, pruned.accuracy AS before, child.op AS repair, child.accuracy AS after
    FROM pruned JOIN study child ON child.parent_key = pruned.model_key
    WHERE child.op IN ('calibrate', 'finetune')
)
"""
_CASES = """
WITH g AS (
    SELECT m.root, coalesce((m.params ->> '$.sparsity')::DOUBLE, 0) AS s, g.attribute, g.value, g.accuracy
    FROM group_accuracy g JOIN models m USING (model_key)
    WHERE m.kind IN ('base', 'prune')
), miss AS (
    SELECT s, value, avg(1 - accuracy) AS missed FROM g WHERE attribute = 'case' AND value LIKE '%defective' GROUP BY ALL
), overall AS (
    SELECT coalesce((m.params ->> '$.sparsity')::DOUBLE, 0) AS s, avg(b.accuracy) AS accuracy
    FROM scoreboard b JOIN models m USING (model_key) WHERE m.kind IN ('base', 'prune') GROUP BY ALL
), change AS (
    SELECT pruned.s, base.accuracy - pruned.accuracy AS accuracy_drop,
           max(now.missed - before.missed) FILTER (now.value = 'mono defective') AS mono,
           max(now.missed - before.missed) FILTER (now.value = 'poly defective') AS poly
    FROM overall pruned, overall base, miss now, miss before
    WHERE base.s = 0 AND before.s = 0 AND now.s = pruned.s AND now.value = before.value AND pruned.s > 0
    GROUP BY ALL
)
"""
_CLASSES = """
WITH c AS (
    SELECT coalesce((m.params ->> '$.sparsity')::DOUBLE, 0) AS s, c.class, c.accuracy
    FROM class_accuracy c JOIN models m USING (model_key) WHERE m.kind IN ('base', 'prune')
), change AS (
    SELECT pruned.s, pruned.class, base.accuracy AS before, pruned.accuracy AS after
    FROM c pruned JOIN c base USING (class) WHERE base.s = 0 AND pruned.s > 0
)
"""
_REPAIR = """
WITH board AS (SELECT replace(model, 'base/', '') AS name, f1, exact_match, file_bytes, sparsity FROM scoreboard),
base AS (SELECT * FROM board WHERE name = 'base')
"""


def _borne(percent: int, *, points: int) -> Claim:
    return Claim(
        "repair",
        f"The attention of the repaired network can lose {percent} % of its weights for less than {points} points",
        _REPAIR
        + f"""SELECT repaired.f1 - further.f1 < {points / 100} AS holds, repaired.f1 AS repaired, further.f1 AS further_pruned,
               further.sparsity AS zeros
        FROM board repaired, board further
        WHERE repaired.name = 'everything30/restored'
          AND further.name = 'everything30/restored/attention[sparsity={percent / 100}]'""",
    )


def _noticed(percent: int) -> Claim:
    return Claim(
        "bias",
        f"The test for groups (exact, corrected for all groups) notices it in each of the three networks at {percent} %",
        f"""
        SELECT max(b.group_drop_p) < 0.05 AS holds, list(b.group_drop_p ORDER BY b.model) AS p_values
        FROM scoreboard b JOIN models m USING (model_key)
        WHERE m.kind = 'prune' AND (m.params ->> '$.sparsity')::DOUBLE = {percent / 100}""",
    )


CLAIMS = (
    Claim(
        "user",
        "int8 costs the small network more accuracy than the large one (by half a point at least; less is noise)",
        _USER
        + """, loss AS (
            SELECT base.net, base.accuracy - child.accuracy AS loss
            FROM base JOIN study child ON child.parent_key = base.model_key AND child.kind = 'quantize'
        )
        SELECT small.loss > large.loss + 0.005 AS holds, large.loss AS resnet50_loses, small.loss AS mobilenet_v2_loses
        FROM loss large, loss small WHERE large.net = 'resnet50' AND small.net <> 'resnet50'""",
    ),
    Claim(
        "user",
        "Recalibration gives the more, the more weights are gone (ResNet-50 pruned by magnitude), as published",
        _USER
        + """, gain AS (SELECT s, after - before AS gain FROM repaired WHERE repair = 'calibrate' AND op = 'magnitude_prune')
        SELECT bool_and(gain > coalesce(earlier, -1)) AS holds, list(gain ORDER BY s) AS gains_at_50_75_90
        FROM (SELECT s, gain, lag(gain) OVER (ORDER BY s) AS earlier FROM gain)""",
    ),
    Claim(
        "user",
        "One short fine-tuning brings ResNet-50 with half of its weights, however pruned, back to within a point",
        _USER
        + """SELECT max(base.accuracy - after) <= 0.01 AS holds, base.accuracy AS base,
               max(after) FILTER (repaired.op = 'magnitude_prune') AS after_magnitude,
               max(after) FILTER (repaired.op = 'gradient_prune') AS after_gradient
        FROM repaired, base
        WHERE repair = 'finetune' AND repaired.s = 0.5 AND base.net = 'resnet50' GROUP BY base.accuracy""",
    ),
    Claim(
        "user",
        "Gradient pruning breaks the network before magnitude pruning does, as published",
        _USER
        + """SELECT bool_and(gradient.accuracy < magnitude.accuracy) AS holds,
               list(magnitude.accuracy ORDER BY s) AS magnitude_at_50_75_90, list(gradient.accuracy ORDER BY s) AS gradient_at_50_75_90
        FROM (FROM pruned WHERE op = 'magnitude_prune') magnitude JOIN (FROM pruned WHERE op = 'gradient_prune') gradient USING (s)""",
    ),
    Claim(
        "user",
        "At 75 %, gradient pruning that may take normalisation weights is worse than gradient pruning that may not",
        """
        WITH gradient AS (
            SELECT (m.params ->> '$.sparsity')::DOUBLE AS s, list_contains(m.recipes, 'user_study') AS spared, accuracy
            FROM models m JOIN scoreboard USING (model_key)
            WHERE m.op = 'gradient_prune' AND len(list_intersect(m.recipes, ['user_study', 'user_study_norms'])) > 0
        )
        SELECT bool_and(taken.accuracy < kept.accuracy) FILTER (s = 0.75) AS holds,
               list(kept.accuracy ORDER BY s) AS spared_at_50_75, list(taken.accuracy ORDER BY s) AS taken_at_50_75
        FROM (FROM gradient WHERE spared) kept JOIN (FROM gradient WHERE NOT spared) taken USING (s)""",
    ),
    Claim(
        "user",
        "Three quarters pruned in two steps with a fine-tuning between them, then recalibrated, beat three quarters pruned at "
        "once, then fine-tuned",
        _USER
        + """SELECT again.accuracy > once.after AS holds, once.after AS at_once, again.accuracy AS in_two_steps
        FROM repaired once, study middle, study again
        WHERE once.op = 'magnitude_prune' AND once.s = 0.75 AND once.repair = 'finetune'
            AND middle.op = 'magnitude_prune' AND middle.depth = 3
            AND again.parent_key = middle.model_key AND again.op = 'calibrate'""",
    ),
    Claim(
        "bias",
        "There is a degree of pruning at which overall accuracy falls by less than 5 points, and misses of one kind of cell "
        "grow by more than 10",
        _CASES
        + """SELECT bool_or(accuracy_drop < 0.05 AND greatest(mono, poly) > 0.1) AS holds,
               arg_max(s, if(accuracy_drop < 0.05, greatest(mono, poly), -1)) AS sparsity,
               arg_max(accuracy_drop, if(accuracy_drop < 0.05, greatest(mono, poly), -1)) AS accuracy_drop,
               arg_max(mono, if(accuracy_drop < 0.05, greatest(mono, poly), -1)) AS mono_misses_grow,
               arg_max(poly, if(accuracy_drop < 0.05, greatest(mono, poly), -1)) AS poly_misses_grow
        FROM change""",
    ),
    Claim(
        "bias",
        "With 40 % of the weights gone, misses grow more on polycrystalline cells than on monocrystalline ones, in each network",
        """
        WITH miss AS (
            SELECT m.root, m.kind, g.value, 1 - g.accuracy AS missed FROM group_accuracy g JOIN models m USING (model_key)
            WHERE g.attribute = 'case' AND g.value LIKE '%defective'
              AND (m.kind = 'base' OR m.kind = 'prune' AND (m.params ->> '$.sparsity')::DOUBLE = 0.4)
        ), growth AS (
            SELECT root, value, max(missed) FILTER (kind = 'prune') - max(missed) FILTER (kind = 'base') AS growth
            FROM miss GROUP BY ALL
        )
        SELECT bool_and(poly.growth > mono.growth) AS holds, list(mono.growth ORDER BY mono.root) AS mono_misses_grow,
               list(poly.growth ORDER BY mono.root) AS poly_misses_grow
        FROM growth mono JOIN growth poly USING (root)
        WHERE mono.value = 'mono defective' AND poly.value = 'poly defective'""",
    ),
    _noticed(30),
    _noticed(40),
    Claim(
        "bias",
        "Recalibrated, the networks without half of their weights miss at most 5 points more of either kind than the dense ones",
        """
        WITH miss AS (
            SELECT m.kind, g.value, avg(1 - g.accuracy) AS missed
            FROM group_accuracy g JOIN models m USING (model_key) LEFT JOIN models parent ON parent.model_key = m.parent_key
            WHERE g.attribute = 'case' AND g.value LIKE '%defective'
              AND (m.kind = 'base' OR m.op = 'calibrate' AND (parent.params ->> '$.sparsity')::DOUBLE = 0.5)
            GROUP BY ALL
        )
        SELECT bool_and(mended.missed - dense.missed < 0.05) AS holds, list(dense.missed ORDER BY value) AS dense_mono_poly,
               list(mended.missed ORDER BY value) AS recalibrated_mono_poly
        FROM miss dense JOIN miss mended USING (value) WHERE dense.kind = 'base' AND mended.kind <> 'base'""",
    ),
    Claim(
        "bias_classes",
        "With half of the weights gone, one class loses more than half of its accuracy while another gains",
        _CLASSES
        + """SELECT min(after - before) < -0.5 AND max(after - before) > 0 AS holds,
               arg_min(class, after - before) AS loser, arg_min(before, after - before) AS loser_before,
               min_by(after, after - before) AS loser_after, arg_max(class, after - before) AS winner,
               arg_max(before, after - before) AS winner_before, max_by(after, after - before) AS winner_after
        FROM change WHERE s = 0.5""",
    ),
    Claim(
        "bias_classes",
        "At 30 %, where overall accuracy is down by less than 5 points, some class is down by more than twice that",
        _CLASSES
        + """SELECT avg(before) - avg(after) < 0.05 AND max(before - after) > 2 * (avg(before) - avg(after)) AS holds,
               avg(before) - avg(after) AS overall_drop, arg_max(class, before - after) AS class, max(before - after) AS class_drop
        FROM change WHERE s = 0.3""",
    ),
    Claim(
        "repair",
        "Every layer without 30 % of its weights, normalisation included: more than half of F1 is lost; linear layers alone: "
        "less than a tenth",
        _REPAIR
        + """SELECT everything.f1 < base.f1 / 2 AND linear.f1 > base.f1 * 0.9 AS holds, base.f1 AS base, linear.f1 AS linear_layers,
               everything.f1 AS everything
        FROM base, board everything, board linear WHERE everything.name = 'everything30' AND linear.name = 'linear30'""",
    ),
    Claim(
        "repair",
        "To prune the scales of the normalisation alone, 2 in 10,000 parameters, does more than half of that damage",
        _REPAIR
        + """SELECT base.f1 - norms.f1 > (base.f1 - everything.f1) / 2 AS holds, norms.sparsity AS zeros, norms.f1 AS norms_alone,
               everything.f1 AS everything
        FROM base, board norms, board everything WHERE norms.name = 'norms' AND everything.name = 'everything30'""",
    ),
    Claim(
        "repair",
        "The ten parameters that changed most are scales of normalisation",
        """
        WITH change AS (
            SELECT c.site, l.module_type, c.relative_change
            FROM changes c JOIN layers l ON l.model_key = c.model_key AND l.tensor = c.site
            WHERE c.model = 'base/everything30' AND c.reference = 'base' AND c.place = 'parameter'
            ORDER BY c.relative_change DESC LIMIT 10
        )
        SELECT bool_and(module_type = 'LayerNorm') AS holds, min(relative_change) AS least_of_them,
               (SELECT max(c.relative_change)
                FROM changes c JOIN layers l ON l.model_key = c.model_key AND l.tensor = c.site
                WHERE c.model = 'base/everything30' AND c.reference = 'base' AND c.place = 'parameter'
                  AND l.module_type <> 'LayerNorm') AS most_of_the_others
        FROM change""",
    ),
    Claim(
        "repair",
        "One threshold for all weights takes less than 1 % of these scales, and does less harm",
        _REPAIR
        + """, gone AS (
            SELECT sum(size - nonzeros) / sum(size) AS share FROM layers
            WHERE model = 'base/threshold[sparsity=0.3]' AND module_type = 'LayerNorm' AND parameter = 'weight'
        )
        SELECT gone.share < 0.01 AND one.f1 > everything.f1 AS holds, gone.share AS scales_gone, one.f1 AS one_threshold,
               everything.f1 AS layer_by_layer
        FROM gone, board one, board everything
        WHERE one.name = 'threshold[sparsity=0.3]' AND everything.name = 'everything30'""",
    ),
    Claim(
        "repair",
        "Restoring the normalisation raises F1 at 10, 30 and 50 %",
        _REPAIR
        + """SELECT bool_and(repaired.f1 > broken.f1) AND count(*) = 3 AS holds, list(broken.f1 ORDER BY broken.sparsity) AS broken,
               list(repaired.f1 ORDER BY broken.sparsity) AS repaired
        FROM board broken JOIN board repaired ON repaired.name = broken.name || '/restored'""",
    ),
    Claim(
        "repair",
        "The recovery is full, to within 5 points of the base, at 10 and at 30 %",
        _REPAIR
        + """SELECT max(base.f1 - repaired.f1) < 0.05 AS holds, base.f1 AS base, list(repaired.f1 ORDER BY repaired.sparsity) AS repaired
        FROM base, board repaired
        WHERE repaired.name IN ('everything[sparsity=0.1]/restored', 'everything30/restored') GROUP BY base.f1""",
    ),
    _borne(40, points=5),
    _borne(60, points=10),
    Claim(
        "repair",
        "The int8 form of the milder one has less than a third of the bytes for less than 3 points",
        _REPAIR
        + """SELECT float32.f1 - int8.f1 < 0.03 AND int8.file_bytes < base.file_bytes / 3 AS holds, float32.f1 AS float32, int8.f1 AS int8,
               int8.file_bytes / base.file_bytes AS bytes_left
        FROM base, board float32, board int8
        WHERE float32.name = 'everything30/restored/attention[sparsity=0.4]'
          AND int8.name = 'everything30/restored/attention[sparsity=0.4]/int8'""",
    ),
    Claim(
        "repair",
        "With half of the linear layers' weights gone, SparseGPT keeps more F1 than Wanda, and Wanda more than magnitude",
        _REPAIR
        + """SELECT s.f1 > w.f1 AND w.f1 > m.f1 AS holds, m.f1 AS magnitude, w.f1 AS wanda, s.f1 AS sparsegpt
        FROM board m, board w, board s WHERE m.name = 'linear50' AND w.name = 'wanda' AND s.name = 'sparsegpt'""",
    ),
    Claim(
        "repair",
        "A short fine-tuning gives more F1 with the base as its teacher than without",
        _REPAIR
        + """SELECT taught.f1 > alone.f1 AS holds, pruned.f1 AS pruned, alone.f1 AS finetuned, taught.f1 AS with_teacher
        FROM board pruned, board alone, board taught
        WHERE pruned.name = 'linear50' AND alone.name = 'linear50/finetuned' AND taught.name = 'linear50/distilled'""",
    ),
)
