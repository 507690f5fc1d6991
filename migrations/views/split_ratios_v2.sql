-- For bi.price_and_forecast. Prices of a session are divided by
-- ratios[width_bucket(session, sessions) + 1], its volume is multiplied by that of shares;
-- width_bucket counts the restatements up to it.
CREATE OR REPLACE VIEW stockbatch.split_ratios AS
SELECT i.id AS instrument_id, split.sessions, split.ratios, seen.at AS seen_at, split.shares
FROM stockbatch.instruments AS i
CROSS JOIN LATERAL (
    SELECT
        array_agg(session ORDER BY session) AS sessions,
        array_agg(ratio ORDER BY session) AS ratios,
        array_agg(shares ORDER BY session) AS shares
    FROM (
        -- A product of all later ratios, which SQL has only as the exponential of a sum of
        -- logarithms.
        SELECT
            session,
            exp(sum(sum(ln(value))) OVER later) AS ratio,
            exp(coalesce(sum(sum(ln(value)) FILTER (WHERE kind = 'split')) OVER later, 0)) AS shares
        FROM stockbatch.corporate_actions
        WHERE instrument_id = i.id AND kind IN ('split', 'restatement')
            AND NOT in_prices AND retracted_at IS NULL
        GROUP BY session
        WINDOW later AS (ORDER BY session DESC)
    ) AS later
) AS split
CROSS JOIN LATERAL (
    -- A split that is withdrawn changes prices back: it counts as a change, too.
    SELECT max(greatest(first_seen_at, retracted_at)) AS at
    FROM stockbatch.corporate_actions
    WHERE instrument_id = i.id AND kind IN ('split', 'restatement')
) AS seen;

COMMENT ON VIEW stockbatch.split_ratios IS
    'One row per instrument: its splits and restatements, and what divides prices to restate them for all of them.';
COMMENT ON COLUMN stockbatch.split_ratios.sessions IS 'sessions of its splits and restatements, ascending';
COMMENT ON COLUMN stockbatch.split_ratios.ratios IS 'at n + 1: what divides prices after n of them; nothing after the last';
COMMENT ON COLUMN stockbatch.split_ratios.seen_at IS 'when one of them last came or was withdrawn';
COMMENT ON COLUMN stockbatch.split_ratios.shares IS 'at n + 1: how many of today''s shares stood for one after n of them; nothing after the last';

-- Prices adjusted for dividends are restated at each: only what became of the close tells their
-- basis. Of others only a split does it.
CREATE OR REPLACE FUNCTION stockbatch.restated(before float8, now float8, price_basis text)
RETURNS float8 LANGUAGE sql IMMUTABLE PARALLEL SAFE
-- Bound when it is made: by its text, readers of the views would need rights to the schema.
RETURN CASE
    WHEN price_basis = 'total_return' THEN before / now
    ELSE stockbatch.restated_by_split(before, now)
END;

COMMENT ON FUNCTION stockbatch.restated IS
    'what became of the basis of a price, by what its prices are adjusted for; the rule that scores go by';
