"""Spack package of pair_style ekd, for a repository of your own.

spack repo create ekd-repo
mkdir -p ekd-repo/packages/ekd-lammps && cp package.py ekd-repo/packages/ekd-lammps/
spack repo add ekd-repo && spack install ekd-lammps ^lammps+lib+plugin
"""

from spack.package import CMakePackage, depends_on, version


class EkdLammps(CMakePackage):
    """The pair style ekd for LAMMPS: distilled coupled-cluster potentials."""

    # A checkout, or a release: give the address that you have it from.
    git = "file:///path/to/ekd"

    version("main", branch="main")

    depends_on("cxx", type="build")
    depends_on("cmake@3.24:", type="build")
    depends_on("mpi")
    depends_on("lammps@20250204:+lib")

    def cmake_args(self):
        lammps = self.spec["lammps"].prefix
        return [
            self.define("EKD_BUILD_PYTHON", False),
            self.define("EKD_BUILD_LIBRARY", False),
            self.define("LAMMPS_DIR", lammps),
        ]

    def setup_run_environment(self, env):
        env.prepend_path("LAMMPS_PLUGIN_PATH", self.prefix.lib)
