#!/bin/sh
# Trains all networks from nothing: sh training/recipe.sh LIDC_FOLDER OUT_FOLDER
# LIDC_FOLDER holds LIDC-IDRI-0001.tar.xz, LIDC-IDRI-0003.tar.xz and their XML. Two Pythons: PRODUCT makes phantoms
# (the package's environment), TRAINER trains (training/requirements.txt). About 4 hours on two busy cores.
set -eu
lidc=$1
out=$2
product=${PRODUCT:-.venv/bin/python}
trainer=${TRAINER:-python3}
# One thread each and memory that stays: on a shared machine two threads that wait for each other are slower than one.
export OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE MALLOC_MMAP_THRESHOLD_=33554432 MALLOC_TRIM_THRESHOLD_=17179869184
mkdir -p "$out/cases"

for case in 0001 0003; do
    [ -d "$out/cases/lidc-$case" ] && continue
    tar -xJf "$lidc/LIDC-IDRI-$case.tar.xz" -C "$out"
    "$trainer" -m training.cases lidc "$out/LIDC-IDRI-$case" "$lidc/LIDC-IDRI-$case.xml" "$out/cases/lidc-$case"
done
for seed in $(seq 10001 10016) $(seq 10101 10111); do
    [ -d "$out/cases/ph-$seed" ] && continue
    "$product" -m conformance.phantom "$out/npz" --seed "$seed" --format npz
    "$trainer" -m training.cases phantom "$out"/npz/*.npz "$out/cases/ph-$seed"
    rm -r "$out/npz"
done
# Many small nodules, every distance of slices with every kernel.
for seed in $(seq 10301 10321); do
    [ -d "$out/cases/ph-$seed" ] && continue
    # The options are words; none of them holds a blank.
    "$product" -m conformance.phantom "$out/npz" --format npz $("$trainer" -m training.phantoms "$seed")
    "$trainer" -m training.cases phantom "$out"/npz/*.npz "$out/cases/ph-$seed"
    rm -r "$out/npz"
done
phantoms=$(ls -d "$out"/cases/ph-*)
count=$(echo "$phantoms" | wc -l)
ones=$(yes 1 | head -n "$count" | tr '\n' ' ')

# The base sees phantoms only, so that it may start every other network.
"$trainer" -m training.train "$out/base.pt" $phantoms --minutes 24 --seed 2
"$trainer" -m training.mine "$out/base.pt" $phantoms

tune() { # name, start, minutes, seed, share of the real cases (times the phantoms), real cases
    name=$1; start=$2; minutes=$3; seed=$4; share=$5
    shift 5
    "$trainer" -m training.mine "$start" "$@"
    weights=""
    for real in "$@"; do weights="$weights $(echo "$count $# $share" | awk '{print $1 / $2 * $3}')"; done
    "$trainer" -m training.train "$out/$name.pt" "$@" $phantoms --weights $weights $ones --start "$start" \
        --minutes "$minutes" --rate 0.001 --seed "$seed"
}
tune loo-0003 "$out/base.pt" 14 3 0.8 "$out/cases/lidc-0001"
tune loo-0001 "$out/base.pt" 14 4 0.8 "$out/cases/lidc-0003"
# The shipped one starts from a network that saw one of the two CTs, and mines its hard places anew.
"$trainer" -m training.mine "$out/loo-0001.pt" $phantoms
tune shipped "$out/loo-0001.pt" 30 5 0.45 "$out/cases/lidc-0001" "$out/cases/lidc-0003"

for seed in $(seq 20001 20010); do
    [ -d "$out/tune/$seed" ] || "$product" -m conformance.phantom "$out/tune/$seed" --seed "$seed" --format npz
done
for name in loo-0003 loo-0001 shipped; do
    "$trainer" -m training.threshold "$out/$name.pt" "$out"/tune/*/*.npz --json "$out/$name-threshold.json"
done

# The networks that help the detector. Both learn from the places that the shipped detector points at, in phantoms of every
# protocol, in phantoms of many nodules, in phantoms of large nodules with every margin, and in one of the CTs. First the
# one that points at small nodules; with what it points at, too, the second network. The phantoms are kept: 30 GB.
distances="0.6 0.8 1.0 1.25 1.5 2.0 2.5"
for seed in $(seq 9101 9180) $(seq 10401 10445); do
    [ -d "$out/npz/$seed" ] && continue
    if [ "$seed" -ge 10401 ]; then
        words=$("$trainer" -m training.phantoms "$seed")
    else
        words="--seed $seed --spacing $(echo "$distances" | cut -d' ' -f$((seed % 7 + 1)))"
        words="$words --kernel $(echo soft standard sharp | cut -d' ' -f$((seed % 3 + 1)))"
    fi
    "$product" -m conformance.phantom "$out/npz/$seed" --format npz $words
done
places() { # BUNDLE FOLDER
    "$product" -m training.places "$1" "$2" phantom "$out"/npz/*/*.npz
    "$product" -m training.places "$1" "$2" lidc "$out/LIDC-IDRI-0003" "$lidc/LIDC-IDRI-0003.xml"
}
bundle="$out/detector/nodule_detection"
"$trainer" -m training.bundle "$out/shipped.pt" "$bundle" --data detector
places "$bundle" "$out/places-1"
"$trainer" -m training.small "$out/small.pt" "$out"/places-1/*
"$trainer" -m training.reduction "$out/early.pt" "$out"/places-1/* --minutes 1
"$trainer" -m training.bundle "$out/shipped.pt" "$bundle" --reduction "$out/early.pt" --small "$out/small.pt" --data detector
places "$bundle" "$out/places-2"
"$trainer" -m training.reduction "$out/reduction.pt" "$out"/places-2/*
"$product" -m training.margins "$out"/places-2/ph-*
