#!/usr/bin/env bash
# Brings Eclipse EDC from Maven Central into target/edc, with our launchers compiled against it: the newest version that resolves.
# Writes the version to target/edc/version.
set -u
cd "$(dirname "$0")/../.." || exit 1
target=$PWD/target/edc
mkdir -p "$target"

# take VERSION: its libraries and our launchers, into target/edc/VERSION.
take() {
    local version=$1 part folder
    for part in connector identityhub; do
        folder=$target/$version/$part
        mvn -q -B -Dstyle.color=never "-Dedc=$version" -f tests/edc/pom.xml -P "$part" dependency:copy-dependencies \
            -DincludeScope=runtime "-DoutputDirectory=$folder" || return 1
        mkdir -p "$folder-classes/META-INF/services"
        javac -proc:none -d "$folder-classes" -cp "$folder/*" "tests/edc/$part"/*.java || return 1
        basename -s .java "tests/edc/$part"/*.java >"$folder-classes/META-INF/services/org.eclipse.edc.spi.system.ServiceExtension"
    done
}

for version in ${EDC_VERSIONS:-0.18.0 0.17.0 0.16.0 0.15.1}; do
    if take "$version" >"$target/$version.log" 2>&1; then
        echo "$version" >"$target/version"
        echo "EDC's version is $version"
        exit 0
    fi
    echo "EDC's version $version does not resolve, or is not what our launchers know; see $target/$version.log"
done
exit 1
