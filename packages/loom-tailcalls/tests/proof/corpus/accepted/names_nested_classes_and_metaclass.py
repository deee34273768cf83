"""Methods of nested classes, with mangling, `super()` and a metaclass that looks at the
namespace.
"""

from subject import tailrec


class Meta(type):
    def __new__(mcls, name, bases, space):
        space["made_by"] = sorted(key for key in space if not key.startswith("__"))
        return super().__new__(mcls, name, bases, space)


class Outer(metaclass=Meta):
    class __Inner(metaclass=Meta):
        __depth = 1

        @tailrec
        async def run(self, n, __trail=()):
            if n == 0:
                return __trail, type(self).__name__, self.made_by
            return await self.run(n - self.__depth, (*__trail, n))

    def inner(self):
        return self.__Inner()


async def main():
    return await Outer().inner().run(2), Outer.made_by
