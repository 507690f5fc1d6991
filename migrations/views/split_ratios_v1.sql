-- For bi.price_and_forecast. Prices of a session are divided by
-- ratios[width_bucket(session, sessions) + 1]; width_bucket counts the splits up to it.
CREATE VIEW stockbatch.split_ratios AS
SELECT i.id AS instrument_id, split.sessions, split.ratios, seen.at AS seen_at
FROM stockbatch.instruments AS i
CROSS JOIN LATERAL (
    SELECT
        array_agg(session ORDER BY session) AS sessions,
        array_agg(ratio ORDER BY session) AS ratios
    FROM (
        -- A product of all later ratios, which SQL has only as the exponential of a sum of
        -- logarithms.
        SELECT session, exp(sum(ln(value)) OVER (ORDER BY session DESC)) AS ratio
        FROM stockbatch.corporate_actions
        WHERE instrument_id = i.id AND kind = 'split' AND retracted_at IS NULL
    ) AS later
) AS split
CROSS JOIN LATERAL (
    -- A split that is withdrawn changes prices back: it counts as a change, too.
    SELECT max(greatest(first_seen_at, retracted_at)) AS at
    FROM stockbatch.corporate_actions
    WHERE instrument_id = i.id AND kind = 'split'
) AS seen;

COMMENT ON VIEW stockbatch.split_ratios IS
    'One row per instrument: its splits, and what divides prices to restate them for all of them.';
COMMENT ON COLUMN stockbatch.split_ratios.instrument_id IS 'instrument';
COMMENT ON COLUMN stockbatch.split_ratios.sessions IS 'ex-sessions of its splits, ascending';
COMMENT ON COLUMN stockbatch.split_ratios.ratios IS 'at n + 1: how many of today''s shares stood for one after n of the splits; nothing after the last';
COMMENT ON COLUMN stockbatch.split_ratios.seen_at IS 'when a split last came or was withdrawn';

-- A provider of adjusted prices restates history without saying why: a ratio of a common split,
-- done or undone, tells. The list and the tolerance are those of market.adjustments and
-- market.overlap.
CREATE FUNCTION stockbatch.restated_by_split(before float8, now float8) RETURNS float8
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE
        WHEN before <> now AND EXISTS (
            SELECT FROM unnest(
                ARRAY[5 / 4.0, 4 / 3.0, 3 / 2.0, 2, 3, 4, 5, 6, 7, 8, 10, 15, 20, 25, 30, 50]
            ) AS ratio
            WHERE abs(before / now / ratio - 1) <= 0.002 OR abs(before / now * ratio - 1) <= 0.002
        ) THEN before / now
        ELSE 1
    END
$$;

COMMENT ON FUNCTION stockbatch.restated_by_split IS
    'what became of the basis of a price: before / now if that is the ratio of a simple split, else 1; the rule that scores go by';
