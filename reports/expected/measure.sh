#!/usr/bin/env bash
# Runs the study of params.yaml once under each setting that makes this machine compute as another processor does, and writes
# reports/expected/<study>.json anew: reports/expected/measure.sh, in a clone where everything is committed. It takes
# as long as eight `make repro`, for bf16 on AVX2 takes as long as four.
set -euo pipefail
cd "$(dirname "$0")/../.."
python=${PYTHON:-$PWD/.venv/bin/python}
found=$("$python" -c 'import numpy; print(*numpy.show_config(mode="dicts")["SIMD Extensions"].get("found", []))')
settings=(default avx512 avx2 old one_thread)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
measured=()
for setting in "${settings[@]}"; do
  case $setting in
    default) with=() ;;
    avx512) with=(ONEDNN_MAX_CPU_ISA=AVX512_CORE) ;;  # no instructions for bf16
    avx2) with=(ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2) ;;
    old) with=(OPENBLAS_CORETYPE=Nehalem OPENCV_IPP=disabled OPENCV_CPU_DISABLE=AVX512-SKX,AVX2,FMA3,AVX "NPY_DISABLE_CPU_FEATURES=$found"
      ONEDNN_MAX_CPU_ISA=AVX512_CORE ATEN_CPU_CAPABILITY=default) ;;
    one_thread) with=() ;;  # by params, for PyTorch is told there
  esac
  mkdir "$work/$setting"
  git archive HEAD | tar x -C "$work/$setting"
  rm -f "$work/$setting/dvc.lock"
  echo "== $setting: ${with[*]:-nothing set}"
  (
    cd "$work/$setting"
    export PYTHONPATH=$PWD/src PATH="$(dirname "$python"):$PATH"
    [ "$setting" != one_thread ] || sed -i 's/^  threads: .*/  threads: 1/' params.yaml
    "$python" -m ferlab.clone
    env "${with[@]}" "$python" -m dvc repro -q audit evaluate explain
  )
  case $setting in
    default) said="nothing set, on$(grep -m 1 'model name' /proc/cpuinfo | cut -d : -f 2)" ;;
    one_thread) said="train.threads 1" ;;
    *) said="${with[*]}" ;;
  esac
  measured+=("$setting ($said)=$work/$setting/reports/metrics")
done
PYTHONPATH=$PWD/src "$python" -m ferlab.expected --measure "${measured[@]}"
