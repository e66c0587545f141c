import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_an_installed_wheel_finds_its_configuration_prompts_and_weights(tmp_path):
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    assert (site / "hydra_plugins" / "sivgap_sweeper.py").is_file()
    code = (
        "import sivgap.config.embedded as e, sivgap.config.locate as l;"
        "assert 'site' in str(l.conf_dir()), l.conf_dir();"
        "l.read_prompt('chat/qe.txt');"
        "assert all((folder / 'model.safetensors').is_file() for folder in e.EMBEDDED.values())"
    )
    environment = {"PYTHONPATH": str(site), "PATH": ""}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True)
    shown = subprocess.run(
        [sys.executable, "-m", "sivgap.train", "--cfg", "job", "model=phi4_mini", "dataset=math"],
        cwd=tmp_path, env=environment, check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert "microsoft/Phi-4-mini-instruct" in shown.stdout
