"""predict as a process: without ROS and torch, interrupted, and with its output closed."""

import json
import signal
import subprocess
import sys

from custom_pose_ros.tools.media import VideoReader


def run_module(code, *arguments, **options):
    return subprocess.Popen(
        [sys.executable, '-c', code, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def test_runs_without_ros_and_torch(picture, tiny_folder):
    code = (
        'import sys; sys.modules.update(dict.fromkeys(("torch", "rclpy", "custom_pose_msgs")));'
        'from custom_pose_ros.tools.predict import main; sys.exit(main())'
    )
    process = run_module(code, picture, '--object', tiny_folder, '--json')
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert len(json.loads(out)['poses']) == 1


def test_ctrl_c_keeps_what_is_done(make_video, tiny_folder, tmp_path):
    video = make_video('long.avi', frames=900)
    coco = tmp_path / 'coco.json'
    code = 'import sys; from custom_pose_ros.tools.predict import main; sys.exit(main())'
    process = run_module(code, video, '--object', tiny_folder, '--json', '--coco', coco)
    for _ in range(5):
        assert json.loads(process.stdout.readline())['poses']
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert 'Traceback' not in err and 'interrupted; results go up to here' in err
    frames = 5 + len(out.splitlines())
    with VideoReader(tmp_path / 'long_pose.mp4') as reader:
        assert abs(len(list(reader)) - frames) <= 1  # the frame in work may be printed and not drawn
    assert abs(len(json.loads(coco.read_text())['images']) - frames) <= 1


def test_closed_pipe_ends_quietly(make_video, tiny_folder):
    code = 'import sys; from custom_pose_ros.tools.predict import main; sys.exit(main())'
    process = run_module(code, make_video(frames=300), '--object', tiny_folder, '--json', '--no-save')
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(timeout=60) == 1
    err = process.stderr.read()
    process.stderr.close()
    assert 'Traceback' not in err and 'Exception' not in err
