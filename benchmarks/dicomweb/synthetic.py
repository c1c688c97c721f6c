"""Rows of instances that were never sent: Hutong's index at 300,000 instances without 150 GB of files."""

import psycopg

from benchmarks.dicomweb.measures import Sample
from benchmarks.dicomweb.servers import Server
from server.store.embedded import EmbeddedPostgres

_STUDIES = """
insert into study (tenant, study, patient, study_date, study_time, accession, study_id, modalities, sop_classes,
                   series_count, instance_count, attributes)
select 1, '2.25.9' || lpad(n::text, 20, '0'), p.patient, '20240131', '101500', 'S' || n, '1', s.modalities,
       s.sop_classes, 1, 100, s.attributes
from generate_series(1, %(studies)s) n,
     (select * from study order by study limit 1) s join patient p using (tenant, patient)
"""
_SERIES = """
insert into series (tenant, series, study, modality, series_number, instance_count, attributes)
select 1, t.study || '.1', t.study, s.modality, 1, 100, s.attributes
from study t, (select * from series where series not like '%%.1' order by series limit 1) s
where t.study like '2.25.900%%'
"""
_INSTANCES = """
insert into instance (tenant, instance, series, study, sop_class, transfer_syntax, instance_number, frames, rows,
                      columns, bits_allocated, pack, pack_offset, length, digest, dataset_offset, pixel_offset,
                      pixel_length, sender, metadata)
select 1, r.series || '.' || n, r.series, r.study, i.sop_class, i.transfer_syntax, n, 1, i.rows, i.columns,
       i.bits_allocated, i.pack, i.pack_offset, i.length, i.digest, i.dataset_offset, i.pixel_offset,
       i.pixel_length, i.sender, i.metadata
from series r, generate_series(1, 100) n, (select * from instance order by instance limit 1) i
where r.study like '2.25.900%%'
order by r.series, n
"""


def fill(server: Server, instances: int) -> list[Sample]:
    """Adds so many instances in series of 100; gives some of the series."""
    with psycopg.connect(EmbeddedPostgres(server.folder).url, autocommit=True) as connection:
        connection.execute(_STUDIES, {"studies": max(instances // 100, 1)})
        connection.execute(_SERIES, {})
        connection.execute(_INSTANCES, {})
        for table in ("study", "series", "instance"):
            connection.execute(f"analyze {table}")
        rows = connection.execute(
            "select study, series from series where study like '2.25.900%%' order by md5(series) limit 60", ()
        ).fetchall()
    return [Sample(study=study, series=series, instances=(f"{series}.1",)) for study, series in rows]
