"""
Measure this machine: stages of a frame, backends, growth, input heights, pose_node over DDS -> build/bench/.

make bench                                               # everything
make bench ARGS='--parts stages live --seconds 600'      # some parts; watch the node for ten minutes
make bench ARGS='--public CHECKOUT'                      # beside github.com/Daniil-Osokin/
                                                         # lightweight-human-pose-estimation.pytorch (needs torch)
Writes bench.json and the charts stages.png, growth.png and heights.png, and prints tables. Other work on the machine
disturbs all of it: the pieces that are compared run in turns, and the 10th percentile is the least disturbed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).resolve().parent)]

from speed import charts, domain, growth, heights, live, networks, public, stages, tables, ways  # noqa: E402
from speed.scenes import OBJECT  # noqa: E402

from custom_pose_ros.core.errors import CustomPoseError  # noqa: E402
from custom_pose_ros.core.object_file import find_object_folder  # noqa: E402
from custom_pose_ros.core.object_model import ObjectModel  # noqa: E402
from custom_pose_ros.inference.backends import default_threads, load_network  # noqa: E402

PARTS = ('networks', 'stages', 'growth', 'heights', 'live')
PHOTOS = ROOT.parent / 'shared/data/submarine/labels.json'


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--parts', nargs='+', choices=PARTS, default=PARTS, help='what to measure (default: all)')
    parser.add_argument('--threads', type=int, default=default_threads(), help='of the backends (default %(default)s)')
    parser.add_argument('--backend', default='auto', help='of all parts but networks and public (default: auto)')
    parser.add_argument('--precision', default='auto', help='of that backend (default: auto)')
    parser.add_argument('--rounds', type=int, default=40, help='times that each thing is timed (default 40)')
    parser.add_argument('--seconds', type=float, default=15.0, help='how long each node is watched (default 15)')
    parser.add_argument('--photos', type=Path, help='COCO labels of photos of the submarine, for the input heights')
    parser.add_argument('--public', type=Path, metavar='CHECKOUT', help='the public implementation to compare with')
    parser.add_argument('--out', type=Path, default=Path('build/bench'), help='folder (default: build/bench)')
    try:
        run(parser.parse_args())
    except CustomPoseError as error:
        print(f'error: {error}', file=sys.stderr)
        return 1
    return 0


def run(options: argparse.Namespace) -> None:
    """Measure, write, draw, print."""
    os.environ.update(domain.environment())
    model = ObjectModel.load(OBJECT)
    network = load_network(find_object_folder(OBJECT), options.backend, options.threads, options.precision)
    automatic = load_network(find_object_folder(OBJECT), threads=options.threads)
    loaded, refused = ways.load_ways(model, options.threads)
    photos = options.photos or (PHOTOS if PHOTOS.is_file() else None)
    named = {'backend': f'{network.backend.name} {network.backend.precision}', 'chosen': network.choice}
    makers: dict[str, Callable[[], dict[str, Any]]] = {
        'networks': lambda: {
            'ways': networks.measure(loaded, options.rounds),
            'not measured': refused,
            'auto': f'{automatic.backend.name} {automatic.backend.precision}',
        },
        'stages': lambda: {**named, **stages.measure(network, options.rounds)},
        'growth': lambda: growth.measure(network, options.rounds),
        'heights': lambda: {**named, **heights.measure(network, options.rounds, photos)},
        'live': lambda: live.measure(options.seconds, network.backend, options.threads),
        'public': lambda: public.measure(options.public, loaded, options.threads, options.rounds),
    }
    results: dict[str, Any] = {'machine': machine(options)}
    for part in [*options.parts, *(['public'] if options.public else [])]:
        print(f'measuring {part} ...', file=sys.stderr, flush=True)
        results[part] = makers[part]()
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / 'bench.json'
    path.write_text(json.dumps(results, indent=2) + '\n', encoding='utf-8')
    print(f'\n{tables.of(results)}\n')
    for name, reason in results.get('networks', {}).get('not measured', {}).items():
        print(f'not measured: {name}: {reason}')
    print(f'wrote {", ".join(map(str, [path, *charts.draw(results, options.out)]))}')


def machine(options: argparse.Namespace) -> dict[str, Any]:
    """Return what the figures belong to."""
    lines = Path('/proc/cpuinfo').read_text(encoding='utf-8').splitlines() if Path('/proc/cpuinfo').exists() else []
    names = [line.partition(':')[2].strip() for line in lines if line.startswith('model name')]
    return {
        'processor': names[0] if names else platform.machine(),
        'logical_cores': len(names),
        'threads': options.threads,
        'python': platform.python_version(),
        'measured_at': datetime.now(timezone.utc).isoformat(timespec='seconds'),
    }


if __name__ == '__main__':
    sys.exit(main())
